import type { Socket } from 'node:net'
import { expect, test } from 'vitest'

import { httpAnswer, type RawRequest } from '../fixtures/raw-server.ts'
import { allow, ask, codeOf, DEVICE, serverAndClient } from './harness.ts'

/** The questions that wait, in the order in which they came; each is answered by hand. */
async function manualServer(options = {}) {
  const waiting: [RawRequest, Socket][] = []
  const made = await serverAndClient((request, socket) => void waiting.push([request, socket]), options)
  const send = async (options = {}) => {
    const before = waiting.length
    const answer = ask(made.client, options)
    await expect.poll(() => waiting.length).toBe(before + 1)
    const [request, socket] = waiting[before] as [RawRequest, Socket]
    return {
      async at(orgEpoch: number, fields = {}) {
        socket.write(allow(request, { orgEpoch, ...fields }))
        return codeOf(await answer)
      },
    }
  }
  return { ...made, waiting, send }
}

test('an epoch lower than one seen before the question was sent is AUTHORITY_ROLLBACK', async () => {
  const { send } = await manualServer()
  expect(await (await send()).at(10)).toBe('ALLOW')
  expect(await (await send()).at(9)).toBe('AUTHORITY_ROLLBACK')
  expect(await (await send()).at(10)).toBe('ALLOW')
})

test('answers in flight may overtake each other: only what was seen at sending counts', async () => {
  const { send } = await manualServer()
  const early = await send()
  const late = await send()
  expect(await late.at(12)).toBe('ALLOW')
  expect(await early.at(11)).toBe('ALLOW')
  // But one that leaves now is held to 12: the overtaken answer has not lowered it.
  expect(await (await send()).at(11)).toBe('AUTHORITY_ROLLBACK')
  expect(await (await send()).at(12)).toBe('ALLOW')
})

test('a denial raises what later questions are held to, as an allow does', async () => {
  const { send } = await manualServer()
  const decisions = [{ deviceId: DEVICE, allowed: false, code: 'DEVICE_REVOKED', epoch: 20 }]
  expect(await (await send()).at(20, { decisions })).toBe('DEVICE_REVOKED')
  expect(await (await send()).at(19)).toBe('AUTHORITY_ROLLBACK')
})

test('an answer that was refused raises nothing', async () => {
  const { send } = await manualServer()
  expect(await (await send()).at(1000, { nonce: 'not-the-nonce-that-was-sent' })).toBe(
    'AUTHORITY_STALE_ANSWER',
  )
  expect(await (await send()).at(1000, { orgId: 'o_bad_answers' })).toBe('ALLOW')
  expect(await (await send()).at(2000, { orgId: 'o_other' })).toBe('AUTHORITY_WRONG_DEVICE')
  expect(await (await send()).at(1000)).toBe('ALLOW')
})

test('the ack of a stop raises it too', async () => {
  const { client, waiting, send } = await manualServer()
  expect(await (await send()).at(10)).toBe('ALLOW')
  const revoked = client.revoke(DEVICE)
  await expect.poll(() => waiting.length).toBe(2)
  const change = {
    status: 'ok',
    handler: 'h',
    orgId: 'o_bad_answers',
    epoch: 30,
    orgEpoch: 30,
    request_id: 'r',
  }
  waiting[1]?.[1].write(httpAnswer(JSON.stringify({ ...change, deviceId: DEVICE })))
  expect(await revoked).toMatchObject({ ok: true, value: { epoch: 30 } })
  expect(await (await send()).at(29)).toBe('AUTHORITY_ROLLBACK')
})

test('the ack of a stop from another org is AUTHORITY_WRONG_DEVICE, and raises nothing', async () => {
  const { client, waiting, send } = await manualServer()
  expect(await (await send()).at(10)).toBe('ALLOW')
  const revoked = client.revoke(DEVICE)
  await expect.poll(() => waiting.length).toBe(2)
  const change = { status: 'ok', handler: 'h', orgId: 'o_other', epoch: 30, orgEpoch: 30, request_id: 'r' }
  waiting[1]?.[1].write(httpAnswer(JSON.stringify({ ...change, deviceId: DEVICE })))
  expect(await revoked).toMatchObject({ ok: false, answered: false, code: 'AUTHORITY_WRONG_DEVICE' })
  expect(await (await send()).at(10)).toBe('ALLOW')
})

test('the org is the first one seen, from then on', async () => {
  const { send } = await manualServer()
  expect(await (await send()).at(1, { orgId: 'o_first' })).toBe('ALLOW')
  expect(await (await send()).at(1, { orgId: 'o_second' })).toBe('AUTHORITY_WRONG_DEVICE')
})

test('the orgId option pins it before the first answer', async () => {
  const { send } = await manualServer({ orgId: 'o_mine' })
  expect(await (await send()).at(1, { orgId: 'o_first' })).toBe('AUTHORITY_WRONG_DEVICE')
  expect(await (await send()).at(1, { orgId: 'o_mine' })).toBe('ALLOW')
})

test.each([-1, 1.5, 2 ** 53, '7', null, undefined])(
  'an org epoch of %s is AUTHORITY_BAD_BODY',
  async (epoch) => {
    const { send } = await manualServer()
    expect(await (await send()).at(epoch as number)).toBe('AUTHORITY_BAD_BODY')
  },
)
