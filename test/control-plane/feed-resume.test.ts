import { expect, test } from 'vitest'

import type { Clock } from '../../src/clock.ts'
import { uuidv7 } from '../../src/control-plane/ids.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { FeedEvent } from '../../src/machineid/wire-evidence.ts'
import { addAuditRows } from '../fixtures/audit-rows.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { openEventStream, type StreamEvent } from '../fixtures/event-stream.ts'

const DEVICE = 'openai-agent:test:payments:01'
const EMAIL = 'openai-agent:test:email:01'

function listen(
  { url, keys }: TestControlPlane,
  { lastEventId, query = '' }: { lastEventId?: string | undefined; query?: string } = {},
) {
  return openEventStream(`${url}${PATHS.feed}${query}`, {
    'x-org-key': keys.viewer,
    ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
  })
}

async function validate({ post, keys }: TestControlPlane, deviceId: string) {
  const body = { deviceIds: [deviceId], nonce: 'n'.repeat(22) }
  return (await post(PATHS.validateBatch, body, keys.runtime)).body.request_id as string
}

/** Each time it is asked it is ten seconds later: far more than what is repeated. */
function leapingClock(): Clock {
  let ms = Date.UTC(2026, 0, 1)
  return { now: () => ({ monotonicMs: (ms += 10_000), wallMs: ms }) }
}

const told = (events: readonly StreamEvent[]) =>
  events.map(({ event, data }) => `${event} ${data.decision?.code ?? data.row?.action ?? data.since}`)
const stored = async (authority: TestControlPlane, requestId: string) =>
  expect
    .poll(async () => {
      const { body } = await authority.get(
        `${PATHS.decisions}?request_id=${requestId}`,
        authority.keys.viewer,
      )
      return body.decisions.length as number
    })
    .toBe(1)

test('whoever comes back is told what was stored since, in its order, also by a control plane that was started anew', async () => {
  await using authority = await startTestControlPlane({ clock: leapingClock() })
  let lastEventId: string | undefined
  {
    using feed = await listen(authority)
    await authority.register(DEVICE)
    ;[{ id: lastEventId }] = (await feed.next(1)) as [StreamEvent]
  }
  await authority.revoke(DEVICE)
  await stored(authority, await validate(authority, DEVICE))
  await authority.restore(DEVICE)
  await stored(authority, await validate(authority, EMAIL))
  const missed = [
    'change device.revoke',
    'decision DEVICE_REVOKED',
    'change device.unrevoke',
    'decision DEVICE_NOT_REGISTERED',
  ]
  await authority.restart()
  using feed = await listen(authority, { lastEventId })
  expect(told(await feed.next(4))).toEqual(missed)
  await authority.revoke(DEVICE)
  expect(told(await feed.next(5))).toEqual([...missed, 'change device.revoke'])
  for (const { data } of feed.events) FeedEvent.parse(data)

  // From each of them it goes on with the one after.
  const ids = feed.events.map(({ id }) => id)
  for (const [index, id] of ids.slice(0, 4).entries()) {
    using again = await listen(authority, { lastEventId: id })
    expect((await again.next(4 - index)).map((event) => event.id)).toEqual(ids.slice(index + 1))
  }
  // With a filter, only what fits.
  using decisions = await listen(authority, { lastEventId, query: '?types=decision' })
  expect(told(await decisions.next(2))).toEqual([missed[1], missed[3]])
  using ofOne = await listen(authority, { lastEventId, query: `?device=${EMAIL}&code=DEVICE_NOT_REGISTERED` })
  expect(told(await ofOne.next(1))).toEqual([missed[3]])
  using changes = await listen(authority, { lastEventId, query: `?types=change&device=${DEVICE}` })
  expect(told(await changes.next(3))).toEqual([missed[0], missed[2], 'change device.revoke'])
})

test('a decision that was stored after a later change is not lost with the connection', async () => {
  await using authority = await startTestControlPlane()
  let lastEventId: string | undefined
  {
    using feed = await listen(authority)
    const requestId = await validate(authority, DEVICE)
    await authority.register(DEVICE)
    const [first] = (await feed.next(1)) as [StreamEvent]
    // The change is told at once, the decision with its batch: that the ids are in this order is the point.
    expect(first.event).toBe('change')
    expect(requestId < (first.id ?? '')).toBe(true)
    lastEventId = first.id
    await stored(authority, requestId)
  }
  using again = await listen(authority, { lastEventId })
  expect((await again.next(1, ({ event }) => event === 'decision'))[0]?.data.decision.deviceId).toBe(DEVICE)
})

test('at most 1,000 events are repeated, the newest, after one that says so', async () => {
  await using authority = await startTestControlPlane()
  const lastEventId = uuidv7(Date.now() - 60_000)
  await authority.kill()
  addAuditRows(authority.file, authority.orgId, 3000)
  await authority.restart()
  const requestId = await validate(authority, EMAIL)
  await stored(authority, requestId)
  using feed = await listen(authority, { lastEventId })
  const [first, ...rest] = await feed.next(1001)
  expect(first).toMatchObject({ id: undefined, event: 'missed', data: { type: 'missed' } })
  expect(FeedEvent.parse(first?.data)).toMatchObject({
    message: expect.stringContaining('GET /api/v1/decisions and GET /api/v1/audit have all of it.'),
  })
  expect(rest.filter(({ event }) => event === 'decision').map(({ id }) => id)).toEqual([`${requestId}.0`])
  const rows = rest.filter(({ event }) => event === 'change')
  expect(rows.map(({ data }) => data.row.seq)).toEqual(
    Array.from({ length: 999 }, (_, index) => 2004 + index),
  )
  await authority.register(DEVICE)
  expect((await feed.next(1002)).at(-1)?.data.row).toMatchObject({ seq: 3003, action: 'device.register' })

  // So it is when most of them do not fit, since older ones that do were not looked at.
  using filtered = await listen(authority, { lastEventId, query: '?device=openai-agent:test:payments:5' })
  expect(told(await filtered.next(1))).toEqual([`missed ${first?.data.since}`])
})

test('from an id of long ago, and from one that is yet to come', async () => {
  await using authority = await startTestControlPlane()
  using old = await listen(authority, { lastEventId: '00000000-0000-7000-8000-000000000000' })
  expect(told(await old.next(2))).toEqual(['change org.create', 'change org.plan'])
  using ahead = await listen(authority, { lastEventId: 'ffffffff-ffff-7fff-bfff-ffffffffffff.15' })
  await authority.register(DEVICE)
  expect(told(await ahead.next(1))).toEqual(['change device.register'])
})

test('while things go on happening, coming back again and again misses nothing, and hears nothing twice', async () => {
  await using authority = await startTestControlPlane()
  const { orgId, keys } = authority
  await authority.register(DEVICE)
  await authority.kill()
  addAuditRows(authority.file, orgId, 2000)
  await authority.restart()
  const first = 3 + 2000 + 1
  let going = true
  const stops = (async () => {
    let stopped = 0
    for (; going; stopped++) await authority.revoke(DEVICE)
    return stopped
  })()
  // Readers of the chain take turns with those who come back, so that much happens before they are told of it.
  const readers = Array.from({ length: 8 }, async () => {
    while (going) await authority.get(PATHS.auditVerify, keys.operator)
  })
  const seen = new Set<number>()
  let lastSeq: number | undefined
  let lastEventId: string | undefined
  for (let round = 0; round < 25; round++) {
    using feed = await listen(authority, { lastEventId, query: '?types=change' })
    await feed.next(1)
    const known = feed.events.length
    await feed.next(known + 3)
    const seqs = feed.events.map(({ data }) => data.row.seq as number)
    // In order, without a gap but for the one that was seen last.
    const [from = 0, to = 0] = [seqs[0], seqs.at(-1)]
    const range = Array.from({ length: to - from + 1 }, (_, index) => from + index)
    expect(seqs).toEqual(range.filter((seq) => seq !== lastSeq))
    for (const seq of seqs) seen.add(seq)
    lastSeq = to
    lastEventId = feed.events.at(-1)?.id
  }
  going = false
  const last = first + (await stops) - 1
  await Promise.all(readers)
  using rest = await listen(authority, { lastEventId })
  await rest.next(1, ({ data }) => data.row.seq === last)
  for (const { data } of rest.events) seen.add(data.row.seq)
  const all = [...seen].filter((seq) => seq >= first).sort((a, b) => a - b)
  expect(all).toEqual(Array.from({ length: all.length }, (_, index) => last - all.length + 1 + index))
  expect(all.length).toBeGreaterThan(30)
})
