import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { runNode, temporaryDirectory } from '../fixtures/program.ts'

test('SIGTERM while calls are in flight: bodies are told, effects finish, new calls are denied, journals are complete, status 0', async () => {
  await using authority = await startTestControlPlane()
  await using dir = await temporaryDirectory()
  const program = runNode(join(import.meta.dirname, 'child-slow-tools.ts'), [], {
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    MACHINEID_DEVICE_ID: 'openai-agent:test:tool-server:01',
    DATA_DIR: dir.path,
  })
  await program.printed('listening')
  const { url } = JSON.parse(program.output().trim().split('\n').at(-1) ?? '') as { url: string }
  const call = async (tool: string, callId: string) => {
    const response = await fetch(`${url}/tools/${tool}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ call_id: callId, arguments: {} }),
    })
    const body = (await response.json()) as Record<string, unknown>
    return { status: response.status, code: body['code'], output: body['output'] }
  }
  const reading = call('read_until_stopped', 'call_1')
  const paying = call('pay_slowly', 'call_2')
  await program.printed('read started')
  await program.printed('payment started')

  program.process.kill('SIGTERM')
  expect(await reading).toMatchObject({ status: 200, output: 'stopped when told' })
  expect(await call('pay_slowly', 'call_3')).toMatchObject({ status: 503, code: 'GUARD_SHUTTING_DOWN' })
  expect(await paying).toMatchObject({ status: 200, output: '{"paid":true,"toldToStop":false}' })
  expect(await program.ended).toBe(0)
  const journal = openSqlite(join(dir.path, 'journal.sqlite'))
  expect(journal.prepare('SELECT call_id, state FROM effect_journal').all()).toEqual([
    { call_id: 'call_2', state: 'done' },
  ])
  journal.close()
})
