import { afterAll, beforeAll, expect, test } from 'vitest'

import { systemClock } from '../../../src/clock.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { openEventStream } from '../../fixtures/event-stream.ts'
import { signIn } from './browser.ts'

let aheadMs = 0
let authority: TestControlPlane
beforeAll(async () => {
  const now = () => {
    const { monotonicMs, wallMs } = systemClock.now()
    return { monotonicMs, wallMs: wallMs + aheadMs }
  }
  authority = await startTestControlPlane({ clock: { now } })
})
afterAll(() => authority.close())

async function listening(key = authority.keys.operator) {
  const person = await signIn(authority, { key })
  const feed = await openEventStream(`${authority.operatorUrl}${PATHS.feed}`, { cookie: person.cookie })
  expect(feed.status).toBe(200)
  return { person, feed }
}

test('a stream ends when its session is signed out, and hears nothing of what follows; others go on', async () => {
  const { person, feed } = await listening()
  const other = await listening()
  await person.post(PATHS.sessionEnd)
  await feed.closed
  await authority.register('s:test:x:1')
  const [event] = await other.feed.next(1, ({ data }) => data.row?.action === 'device.register')
  expect(event).toBeDefined()
  expect(feed.events.filter(({ data }) => data.row?.action === 'device.register')).toEqual([])
  other.feed[Symbol.dispose]()
})

test('a stream ends when its session has been idle for an hour: a stream is no activity', async () => {
  const { feed } = await listening()
  const byKey = await openEventStream(`${authority.operatorUrl}${PATHS.feed}`, {
    'x-org-key': authority.keys.operator,
  })
  aheadMs += 3_600_000
  await authority.controlPlane.housekeeping.tick()
  await feed.closed
  await authority.register('s:test:x:2')
  await byKey.next(1, ({ data }) => data.row?.action === 'device.register')
  byKey[Symbol.dispose]()
})

test('a stream ends with its key: burned while signed in', async () => {
  const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'viewer' })
  const { feed } = await listening(key)
  await authority.post(PATHS.keyBurn.replace(':id', keyId), {}, authority.keys.admin)
  await feed.closed
})
