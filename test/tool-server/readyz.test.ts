// What /readyz says of the stream of stops, and which of it fails ?strict (DESIGN 9).

import { expect, test } from 'vitest'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import type { ScriptedAuthority, ScriptedStopStream } from '../fixtures/scripted-authority.ts'
import { scriptedServer } from './scripted.ts'
import { startTestToolServer } from './start.ts'

const SINCE = '1970-01-01T00:00:00.000Z'

function lost(stream: ScriptedStopStream | undefined) {
  if (stream === undefined) throw new Error('no stream')
  Object.defineProperty(stream, 'state', {
    value: { ...stream.state, up: false, code: 'AUTHORITY_UNREACHABLE' },
  })
}

const without = (authority: ScriptedAuthority) => (authority.openStops = undefined)

test('up: ok, and since when', async () => {
  const { get } = await scriptedServer()
  expect(await get('/readyz?strict')).toMatchObject({
    status: 200,
    body: { status: 'ok', stop_stream: { state: 'up', since: SINCE, reason: null } },
  })
})

test('down: degraded with its reason, which fails only ?strict', async () => {
  const { get, authority } = await scriptedServer()
  lost(authority.stream)
  const body = {
    status: 'degraded',
    stop_stream: { state: 'down', since: SINCE, reason: 'AUTHORITY_UNREACHABLE' },
  }
  expect(await get('/readyz')).toMatchObject({ status: 200, body })
  expect(await get('/readyz?strict')).toMatchObject({ status: 503, body })
})

test.each([
  ['machineid', 'hosted MachineID pushes no stops'],
  ['custom', 'the authority pushes no stops'],
])('off with the profile %s: "%s", which fails nothing', async (profile, reason) => {
  const { get } = await scriptedServer({ prepare: without, about: { profile } })
  expect(await get('/readyz?strict')).toMatchObject({
    status: 200,
    body: { status: 'ok', stop_stream: { state: 'off', since: null, reason } },
  })
})

test('before the start it is off, because there is no stream yet, and ?strict fails as it does then', async () => {
  const { get } = await scriptedServer({ start: false })
  expect(await get('/readyz?strict')).toMatchObject({
    status: 503,
    body: { started: false, stop_stream: { state: 'off', reason: 'the guard has not started' } },
  })
})

test('a journal that cannot tell fails ?strict as before', async () => {
  const journal = createMemoryJournal()
  journal.countUnknown = () => Promise.reject(new Error('disk'))
  const { get } = await scriptedServer({ guardOptions: { journal } })
  expect(await get('/readyz?strict')).toMatchObject({ status: 503, body: { unknown_outcomes: null } })
})

test('with a real control plane: up, then down when it dies, and up again when it is back', async () => {
  await using server = await startTestToolServer({ tools: () => [] })
  const state = async () => (await server.get('/readyz')).body.stop_stream.state
  await expect.poll(state, { timeout: 5000 }).toBe('up')
  await server.authority.kill()
  await expect.poll(state, { timeout: 5000 }).toBe('down')
  expect((await server.get('/readyz?strict')).status).toBe(503)
  await server.authority.restart()
  await expect.poll(state, { timeout: 15_000 }).toBe('up')
})
