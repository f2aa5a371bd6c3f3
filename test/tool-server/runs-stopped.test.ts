// A revoke at the real control plane, in threads as in production, reaches a hosted run while its model answers.

import { Agent } from '@openai/agents'
import { ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { hangingStream } from '../agents/pushing.ts'
import { done } from '../agents/helpers.ts'
import { SERVER, startTestToolServer } from './start.ts'

test('revoked while the model answers: the run is denied at once, and resumed after the restore', async () => {
  const model = new ScriptedModel([done])
  const answer = model.getStreamedResponse.bind(model)
  const call = hangingStream(true)
  model.getStreamedResponse = (request) => {
    model.getStreamedResponse = answer
    return call.answer(request)
  }
  await using server = await startTestToolServer({
    lanes: true,
    tools: () => [],
    agents: () => [{ agent: new Agent({ name: 'clerk', model }) }],
  })
  await expect.poll(() => server.guard.stopStream?.up, { timeout: 5000 }).toBe(true)
  const running = server.post('/runs', { agent: 'clerk', input: 'go', runId: 'r1' })
  await call.sent
  await server.authority.revoke(SERVER)
  expect(await running).toMatchObject({
    status: 200,
    body: {
      runId: 'r1',
      status: 'denied',
      denial: { code: 'STOP_PUSHED', boundary: 'task', device_id: SERVER },
      resumable: true,
    },
  })
  expect((await server.post('/runs/r1/resume', {})).body).toMatchObject({ code: 'DEVICE_REVOKED' })
  await server.authority.restore(SERVER)
  expect((await server.post('/runs/r1/resume', {})).body).toMatchObject({
    status: 'completed',
    output: 'done',
  })
})
