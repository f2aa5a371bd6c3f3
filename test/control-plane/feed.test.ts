import { get, type IncomingMessage } from 'node:http'
import { DatabaseSync } from 'node:sqlite'
import { expect, test, vi } from 'vitest'

import { systemClock, type Clock } from '../../src/clock.ts'
import { fits, type FeedFilter } from '../../src/control-plane/feed-events.ts'
import { createFeed } from '../../src/control-plane/feed.ts'
import { createOpenStreams } from '../../src/control-plane/open-streams.ts'
import type { AuditRow, DecisionRecord, KeyRecord } from '../../src/control-plane/records.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import { FeedEvent, type FeedEventBody } from '../../src/machineid/wire-evidence.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { openEventStream, type EventStreamClient, type StreamEvent } from '../fixtures/event-stream.ts'

const DEVICE = 'openai-agent:test:payments:01'
const EMAIL = 'openai-agent:test:email:01'

function listen(
  authority: TestControlPlane,
  {
    query = '',
    key = authority.keys.viewer,
    lastEventId,
  }: { query?: string; key?: string; lastEventId?: string } = {},
): Promise<EventStreamClient> {
  return openEventStream(`${authority.url}${PATHS.feed}${query}`, {
    'x-org-key': key,
    'accept-encoding': 'gzip, br',
    ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
  })
}

async function validate({ post, keys }: TestControlPlane, deviceIds: readonly string[], boundary = 'tool') {
  const body = { deviceIds, nonce: 'n'.repeat(22), context: { boundary } }
  return (await post(PATHS.validateBatch, body, keys.runtime)).body.request_id as string
}

/** A clock that can be moved on. */
function movableClock() {
  let movedMs = 0
  const clock: Clock = {
    now: () => {
      const { monotonicMs, wallMs } = systemClock.now()
      return { monotonicMs: monotonicMs + movedMs, wallMs: wallMs + movedMs }
    },
  }
  return { clock, move: (ms: number) => void (movedMs += ms) }
}

const burn = ({ post, keys }: TestControlPlane, keyId: string) =>
  post(PATHS.keyBurn.replace(':id', keyId), {}, keys.admin)
const issue = async ({ service, orgId }: TestControlPlane, kind: KeyKind = 'viewer') =>
  service.issueKey({ orgId, kind })

test('decisions, changes and overdue stops, as they happen, each with an id to go on from', async () => {
  const { clock, move } = movableClock()
  await using authority = await startTestControlPlane({ clock })
  await authority.register(DEVICE)
  using feed = await listen(authority)
  expect(feed.status).toBe(200)
  await authority.post(
    PATHS.revoke,
    { deviceId: DEVICE, reason: 'leaked key', remindAfterSeconds: 60 },
    authority.keys.stop,
  )
  const requestId = await validate(authority, [EMAIL, DEVICE])
  await feed.next(3)
  move(61_000)
  await authority.controlPlane.housekeeping.tick()
  const [change, first, second, overdue] = await feed.next(4)
  for (const { event, data } of feed.events) expect(FeedEvent.parse(data).type).toBe(event)

  const { body } = await authority.get(`${PATHS.audit}?after=3`, authority.keys.viewer)
  expect(change?.data).toEqual({ type: 'change', row: body.rows[0] })
  expect(change?.id).toBe(body.rows[0].id)
  expect([first?.id, second?.id]).toEqual([`${requestId}.0`, `${requestId}.1`])
  expect(first?.data.decision).toMatchObject({ deviceId: EMAIL, code: 'DEVICE_NOT_REGISTERED' })
  const { decisions } = (await authority.get(PATHS.decisions, authority.keys.viewer)).body
  expect([first?.data.decision, second?.data.decision]).toEqual(decisions)
  expect(overdue).toMatchObject({
    id: undefined,
    event: 'overdue',
    data: { deviceId: DEVICE, lockId: null, pattern: null, reason: 'leaked key', epoch: 1 },
  })
})

test('a lock that is overdue names its pattern', async () => {
  const { clock, move } = movableClock()
  await using authority = await startTestControlPlane({ clock })
  using feed = await listen(authority, { query: '?types=overdue' })
  const lock = { pattern: 'openai-agent:test:*', reason: 'drill', remindAfterSeconds: 60 }
  const { body } = await authority.post(PATHS.locks, lock, authority.keys.stop)
  move(61_000)
  await authority.controlPlane.housekeeping.tick()
  const [{ data }] = (await feed.next(1)) as [StreamEvent]
  expect(data).toMatchObject({
    deviceId: null,
    lockId: body.lockId,
    pattern: lock.pattern,
    epoch: body.epoch,
  })
})

test('it is a stream that no proxy keeps back, and that says when to come again', async () => {
  await using authority = await startTestControlPlane({ feedHeartbeatMs: 10 })
  using feed = await listen(authority)
  expect(feed.headers).toMatchObject({
    'content-type': 'text/event-stream',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
  })
  expect(feed.headers['content-encoding']).toBeUndefined()
  await feed.line('retry: ')
  const [retry] = feed.lines
  expect(Number(retry?.slice('retry: '.length))).toBeGreaterThanOrEqual(1000)
  await feed.line(': ')
})

test('G5: what is told is durable already; what was refused is never told', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  const other = new DatabaseSync(authority.file, { readOnly: true })
  const durable = other.prepare('SELECT hash FROM audit WHERE org_id = ? AND seq = ?')
  const told: string[] = []
  const end = authority.controlPlane.feed.subscribe({
    orgId: authority.orgId,
    filter: {},
    beat: () => {},
    cut: () => {},
    send: (entries) => {
      for (const { event } of entries) {
        if (event.type !== 'change') continue
        told.push(event.row.action)
        expect(durable.get(authority.orgId, event.row.seq)?.['hash']).toBe(event.row.hash)
      }
    },
  })
  await authority.post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 99 }, authority.keys.operator)
  await authority.post(`${PATHS.revoke}?preview=true`, { deviceId: DEVICE }, authority.keys.stop)
  await authority.revoke(DEVICE)
  await expect.poll(() => told).toEqual(['device.revoke'])
  end()
  other.close()
})

test('only what happens in the org of the key', async () => {
  await using authority = await startTestControlPlane()
  const other = await authority.service.createOrg({ kinds: ['viewer', 'full'] })
  using feed = await listen(authority, { key: other.keys.viewer ?? '' })
  await authority.register(DEVICE)
  await validate(authority, [EMAIL])
  await authority.post(PATHS.register, { deviceId: EMAIL }, other.keys.full)
  const [event] = await feed.next(1)
  expect(event?.data.row).toMatchObject({ orgId: other.orgId, action: 'device.register' })
  expect(feed.events).toHaveLength(1)
})

test('only keys that may see it do', async () => {
  await using authority = await startTestControlPlane()
  for (const kind of ['viewer', 'operator', 'admin', 'full'] as const) {
    using feed = await listen(authority, { key: authority.keys[kind] })
    expect(feed.status).toBe(200)
  }
  for (const kind of ['runtime', 'stop'] as const) {
    using feed = await listen(authority, { key: authority.keys[kind] })
    await feed.closed
    expect(feed).toMatchObject({ status: 403 })
    expect(feed.json()).toMatchObject({ code: 'INSUFFICIENT_SCOPE', handler: 'feed' })
  }
})

test('filters, over the wire', async () => {
  await using authority = await startTestControlPlane()
  const filters = [
    '?types=decision',
    '?types=change',
    '?types=change,overdue&device=*:*:email:*',
    '?code=DEVICE_REVOKED',
    '?boundary=side_effect',
    '?allowed=true',
    `?device=${DEVICE}`,
  ]
  const feeds = await Promise.all(filters.map((query) => listen(authority, { query })))
  await authority.register(DEVICE)
  await authority.register(EMAIL)
  await authority.revoke(DEVICE)
  await validate(authority, [DEVICE, 'a:b:c:d'], 'side_effect')
  await validate(authority, [DEVICE])
  await authority.revoke(EMAIL)
  const shown = () =>
    feeds.map(({ events }) =>
      events
        .map(
          ({ event, data }) =>
            `${event} ${data.decision?.code ?? data.row.action} ${data.decision?.deviceId ?? data.row.deviceId}`,
        )
        // Changes and decisions come by ways of their own.
        .toSorted((x, y) => x.split(' ')[0]?.localeCompare(y.split(' ')[0] ?? '') ?? 0),
    )
  const register = (deviceId: string) => `change device.register ${deviceId}`
  const revoke = (deviceId: string) => `change device.revoke ${deviceId}`
  const denied = [
    `decision DEVICE_REVOKED ${DEVICE}`,
    'decision DEVICE_NOT_REGISTERED a:b:c:d',
    `decision DEVICE_REVOKED ${DEVICE}`,
  ]
  await expect
    .poll(shown)
    .toEqual([
      denied,
      [register(DEVICE), register(EMAIL), revoke(DEVICE), revoke(EMAIL)],
      [register(EMAIL), revoke(EMAIL)],
      [denied[0], denied[2]],
      denied.slice(0, 2),
      [],
      [register(DEVICE), revoke(DEVICE), denied[0], denied[2]],
    ])
  for (const feed of feeds) feed[Symbol.dispose]()
})

test('filters: what is about no device fits none; a lock fits what it covers and what covers it', () => {
  const row = (after: object | null, deviceId: string | null = null) =>
    ({ type: 'change', row: { action: 'x', deviceId, after } }) as unknown as FeedEventBody
  const overdue = (pattern: string) =>
    ({ type: 'overdue', deviceId: null, pattern }) as unknown as FeedEventBody
  const cases: [FeedFilter, FeedEventBody, boolean][] = [
    [{}, row(null), true],
    [{ device: '*' }, row(null), false],
    [{ device: '*' }, row({ disabled: true }), false],
    [{ device: DEVICE }, row(null, DEVICE), true],
    [{ device: DEVICE }, row(null, EMAIL), false],
    [{ device: DEVICE }, row({ pattern: 'openai-agent:test:*' }), true],
    [{ device: 'openai-agent:*' }, row({ pattern: 'openai-agent:test:*' }), true],
    [{ device: EMAIL }, row({ pattern: 'openai-agent:test:payments:*' }), false],
    [{ device: DEVICE }, overdue('openai-agent:test:*'), true],
    [{ device: EMAIL }, overdue('openai-agent:test:payments:*'), false],
    [{ code: 'ALLOW' }, row(null), false],
    [{ boundary: 'tool' }, row(null), false],
    [{ allowed: false }, row(null), false],
    [{ types: new Set(['decision']) }, row(null), false],
    [{ types: new Set(['decision']), code: 'X' }, { type: 'missed', since: '', message: '' }, true],
  ]
  for (const [filter, event, expected] of cases) {
    expect.soft({ filter, event, fits: fits(filter, event) }).toEqual({ filter, event, fits: expected })
  }
})

test.each([
  ['?types=decisions', undefined, '"types" must be some of decision, change, overdue, with commas between.'],
  ['?types=', undefined, '"types" must be a string of 1 to 64 characters.'],
  ['?allowed=maybe', undefined, '"allowed" must be true or false.'],
  ['', 'yesterday', 'The header last-event-id must be the id of an event of this feed.'],
])('%s %s is refused', async (query, lastEventId, message) => {
  await using authority = await startTestControlPlane()
  using feed = await listen(authority, { query, ...(lastEventId !== undefined && { lastEventId }) })
  await feed.closed
  expect(feed.status).toBe(400)
  expect(feed.json()).toMatchObject({ code: 'BAD_REQUEST', message })
})

test('a burned key hears nothing more, at once, not even of its end; the others do', async () => {
  await using authority = await startTestControlPlane()
  const { key, keyId } = await issue(authority)
  using cut = await listen(authority, { key })
  using stays = await listen(authority)
  const closedBeforeAck = cut.closed.then(() => performance.now())
  expect((await burn(authority, keyId)).status).toBe(200)
  await authority.register(DEVICE)
  await stays.next(2)
  expect((await closedBeforeAck) - performance.now()).toBeLessThanOrEqual(0)
  expect(cut.events).toEqual([])
  expect(stays.events.map(({ data }) => data.row.action)).toEqual(['key.burn', 'device.register'])
  using again = await listen(authority, { key })
  await again.closed
  expect(again).toMatchObject({ status: 401 })
})

test('a key that is rotated: with no overlap its streams end at once, else with the overlap', async () => {
  const { clock, move } = movableClock()
  await using authority = await startTestControlPlane({ clock, feedHeartbeatMs: 10 })
  const rotate = async (overlapSeconds: number) => {
    const { key, keyId } = await issue(authority)
    const feed = await listen(authority, { key })
    await authority.post(PATHS.keyRotate.replace(':id', keyId), { overlapSeconds }, authority.keys.admin)
    return feed
  }
  using atOnce = await rotate(0)
  await atOnce.closed
  expect(atOnce.events.filter(({ data }) => data.row.action === 'key.rotate')).toEqual([])

  using later = await rotate(60)
  await later.next(1, ({ data }) => data.row.action === 'key.rotate')
  move(61_000)
  // Nobody has latched its end yet: the next heartbeat sees that its time has passed.
  await later.closed
  expect(later.events.filter(({ data }) => data.row.action === 'key.expired')).toEqual([])
})

test('G1: a key whose time has passed is told nothing, whoever notices first', async () => {
  const { clock, move } = movableClock()
  await using authority = await startTestControlPlane({ clock })
  const { key, keyId } = await issue(authority)
  await authority.post(PATHS.keyRotate.replace(':id', keyId), { overlapSeconds: 60 }, authority.keys.admin)
  using feed = await listen(authority, { key })
  move(61_000)
  await authority.register(DEVICE)
  await feed.closed
  expect(feed.events).toEqual([])
})

test('it ends with the control plane, at once', async () => {
  await using authority = await startTestControlPlane()
  const feeds = await Promise.all([listen(authority), listen(authority)])
  const startMs = performance.now()
  await authority.kill(10_000)
  await Promise.all(feeds.map(({ closed }) => closed))
  expect(performance.now() - startMs).toBeLessThan(5000)
})

test('a key has at most 20 streams, and gets a place back', async () => {
  await using authority = await startTestControlPlane()
  const feeds = await Promise.all(Array.from({ length: 20 }, () => listen(authority)))
  using refused = await listen(authority)
  await refused.closed
  expect(refused.status).toBe(429)
  expect(refused.json()).toMatchObject({ code: 'TOO_MANY_STREAMS' })
  using others = await listen(authority, { key: authority.keys.operator })
  expect(others.status).toBe(200)
  feeds[0]?.[Symbol.dispose]()
  await expect
    .poll(async () => {
      using feed = await listen(authority)
      return feed.status
    })
    .toBe(200)
  for (const feed of feeds) feed[Symbol.dispose]()
})

test('all keys together have a bounded number of streams, and none once they are closed', () => {
  const streams = createOpenStreams({ nowMs: () => 0, maxPerKey: 2, maxInAll: 3 })
  const key = (keyId: string) => ({ keyId, endedAs: null, endsAtMs: null }) as KeyRecord
  const ended: string[] = []
  const open = (keyId: string) =>
    streams.open({ key: key(keyId), session: undefined }, () => ended.push(keyId))
  const first = open('a')
  open('a')
  expect(() => open('a')).toThrow(/This key has 2 streams open/)
  open('b')
  expect(() => open('b')).toThrow(/As many streams are open as this control plane serves/)
  first.release()
  first.release()
  open('c')
  expect(() => open('b')).toThrow(/As many streams/)
  streams.close()
  expect(ended.toSorted()).toEqual(['a', 'b', 'c'])
  expect(() => open('a')).toThrow(/is being stopped/)
})

test('one org cannot take every place: with as many keys as it likes, others get streams still', () => {
  const streams = createOpenStreams({ nowMs: () => 0 })
  const open = (orgId: string, keyId: string) =>
    streams.open(
      { key: { orgId, keyId, endedAs: null, endsAtMs: null } as KeyRecord, session: undefined },
      () => {},
    )
  const held = Array.from({ length: 200 }, (_, index) => open('greedy', `key-${index % 50}`))
  expect(() => open('greedy', 'key-50')).toThrow(
    expect.objectContaining({
      code: 'TOO_MANY_STREAMS',
      message: 'This org has 200 streams open, the most it may have. Close some, or ask again later.',
    }),
  )
  const other = open('other', 'its key')
  expect(other.isOpen()).toBe(true)
  other.release()
  expect(() => open('greedy', 'key-50')).toThrow(/This org has 200/)
  held[0]?.release()
  held[0]?.release()
  open('greedy', 'key-50')
  expect(() => open('greedy', 'key-51')).toThrow(/This org has 200/)
})

/** Something that whoever looks at it trips over. */
const untouchable = new Proxy(
  {},
  {
    get: () => {
      throw new Error('looked at')
    },
  },
)

test('nobody listens: nothing is even looked at', async () => {
  await using authority = await startTestControlPlane()
  const { feed } = authority.controlPlane
  const publish = () => {
    feed.decided([untouchable as DecisionRecord])
    feed.committed([untouchable as AuditRow])
  }
  publish()
  const stream = await listen(authority)
  expect(publish).toThrow('looked at')
  stream[Symbol.dispose]()
  await vi.waitFor(publish)
})

test('an org in which more happens than can be told loses its listeners, and no other org does', async () => {
  const feed = createFeed({ nowMs: () => 0 })
  const cut: string[] = []
  const told: string[] = []
  for (const orgId of ['a', 'b']) {
    feed.subscribe({
      orgId,
      filter: {},
      beat: () => {},
      cut: () => cut.push(orgId),
      send: (entries) => told.push(...entries.map(() => orgId)),
    })
  }
  const decision = (orgId: string) =>
    ({ orgId, requestId: 'r', ordinal: 0, deviceId: DEVICE, code: 'X', atMs: 0 }) as DecisionRecord
  feed.decided([decision('b')])
  feed.decided(Array.from({ length: 20_001 }, () => decision('a')))
  expect(cut).toEqual(['a'])
  await expect.poll(() => told).toEqual(['b'])
})

test('the org that fills the queue is the one that is given up, not the one whose event came last', async () => {
  const feed = createFeed({ nowMs: () => 0 })
  const cut: string[] = []
  const told: string[] = []
  for (const orgId of ['noisy', 'quiet']) {
    feed.subscribe({
      orgId,
      filter: {},
      beat: () => {},
      cut: () => cut.push(orgId),
      send: (entries) => told.push(...entries.map(() => orgId)),
    })
  }
  const decisions = (orgId: string, length: number) =>
    Array.from(
      { length },
      () => ({ orgId, requestId: 'r', ordinal: 0, deviceId: DEVICE, code: 'X', atMs: 0 }) as DecisionRecord,
    )
  feed.decided(decisions('noisy', 20_000))
  expect(cut).toEqual([])
  feed.decided(decisions('quiet', 1))
  feed.decided(decisions('quiet', 1))
  expect(cut).toEqual(['noisy'])
  await expect.poll(() => told).toEqual(['quiet', 'quiet'])
  // Together in one call, and in whatever order.
  feed.decided([...decisions('quiet', 10_500), ...decisions('noisy', 10_501)])
  expect(cut).toEqual(['noisy', 'noisy'])
  await expect.poll(() => told.length).toBe(10_502)
  expect(told).not.toContain('noisy')
})

test('200 streams, one of which is never read: that one is cut, the others hear everything', async () => {
  await using authority = await startTestControlPlane()
  const { orgId } = authority
  const keys = await Promise.all(Array.from({ length: 10 }, () => issue(authority)))
  const open = async (query: string, index: number) => {
    const key = keys[index % keys.length]?.key ?? ''
    const stream = await new Promise<IncomingMessage>((resolve, reject) => {
      const url = `${authority.url}${PATHS.feed}${query}`
      get(url, { headers: { 'x-org-key': key }, agent: false }, resolve).on('error', reject)
    })
    return { stream, events: 0, tail: '' }
  }
  // So much goes to 20 of them; the rest hear of the same events only that which is small.
  const queries = Array.from({ length: 200 }, (_, index) => (index <= 20 ? '' : '?types=decision'))
  const [stalled, ...others] = await Promise.all(queries.map(open))
  stalled?.stream.pause()
  const MARK = '\ndata: '
  for (const other of others) {
    other.stream.on('data', (chunk: Buffer) => {
      const text = other.tail + chunk.toString('latin1')
      other.events += text.split(MARK).length - 1
      other.tail = text.slice(1 - MARK.length)
    })
  }
  const fewest = (from: number, to?: number) =>
    Math.min(...others.slice(from, to).map(({ events }) => events))
  const { feed } = authority.controlPlane
  const big = { orgId, action: 'x', deviceId: null, before: null, after: 'x'.repeat(64 * 1024), atMs: 0 }
  const small = { orgId, requestId: 'r', ordinal: 0, deviceId: DEVICE, code: 'X', atMs: 0 } as DecisionRecord
  // 16 MB: more than a kernel keeps for a reader, and 1 MiB on top.
  for (let round = 1; round <= 64; round++) {
    feed.committed(Array.from({ length: 4 }, () => big as unknown as AuditRow))
    feed.decided([small])
    await expect.poll(() => fewest(0, 20), { interval: 2, timeout: 15_000 }).toBe(round * 5)
    await expect.poll(() => fewest(20), { interval: 2, timeout: 15_000 }).toBe(round)
  }
  let received = 0
  const closed = new Promise((resolve) => stalled?.stream.on('close', resolve))
  stalled?.stream.on('error', () => {})
  stalled?.stream.on('data', (chunk: Buffer) => (received += chunk.length))
  stalled?.stream.resume()
  await closed
  expect(received).toBeLessThan(12 * 1024 * 1024)
  feed.decided([small])
  await expect.poll(() => fewest(20)).toBe(65)
  for (const { stream } of others) stream.destroy()
}, 60_000)

test('from worker threads too: the feed of the agent lane is passed on, and cut, as it comes', async () => {
  await using authority = await startTestLanes()
  const { key, keyId } = await issue(authority)
  using feed = await listen(authority, { key })
  const requestId = await validate(authority, [DEVICE])
  const [event] = await feed.next(1)
  expect(event?.id).toBe(`${requestId}.0`)
  await burn(authority, keyId)
  await feed.closed
})
