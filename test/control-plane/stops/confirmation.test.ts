import { describe, expect, test } from 'vitest'

import { CONCERNED_MS, confirmationOf } from '../../../src/control-plane/stops/confirmation.ts'
import type { ReplicaRecord, StopAckRecord, StopRecord } from '../../../src/control-plane/stops/stop-store.ts'

// What is known of a stop comes from what was observed, never from a call having returned.

const AT = 10_000_000
const STOP: StopRecord = {
  orgId: 'o',
  epoch: 7,
  action: 'device.revoke',
  deviceId: 'a:b:c',
  pattern: null,
  keyId: null,
  by: 'stop:k',
  reason: null,
  atMs: AT,
}
const REPLICA: ReplicaRecord = {
  orgId: 'o',
  keyId: 'k1',
  keyKind: 'runtime',
  replica: 'r1',
  devices: [{ deviceId: 'a:b:c', inFlight: 2 }],
  streamUp: true,
  firstSeenAtMs: AT - 1000,
  lastSeenAtMs: AT + 5000,
  leftAtMs: null,
  timeoutMs: 2000,
  latencyMs: null,
  lastDenied: null,
}
const ACK: StopAckRecord = {
  orgId: 'o',
  epoch: 7,
  keyId: 'k1',
  replica: 'r1',
  toldAtMs: null,
  receivedAtMs: null,
  settledAtMs: null,
  aborted: 0,
  finished: 0,
  unknown: 0,
  running: 0,
  calls: [],
}
const denied = (atMs: number, deviceId = 'a:b:c') => ({
  lastDenied: { atMs, deviceId, code: 'DEVICE_REVOKED' },
})
const told = { toldAtMs: AT + 1 }
const received = { ...told, receivedAtMs: AT + 2 }
const settled = { ...received, settledAtMs: AT + 3 }

interface Row {
  readonly when: string
  readonly replica?: Partial<ReplicaRecord>
  readonly ack?: Partial<StopAckRecord>
  readonly state: string
}

const STATES: readonly Row[] = [
  { when: 'it settled, and nothing runs', ack: settled, state: 'confirmed' },
  { when: 'it settled, and that is all that arrived', ack: { settledAtMs: AT + 3 }, state: 'confirmed' },
  { when: 'it settled, and something still runs', ack: { ...settled, running: 1 }, state: 'acknowledged' },
  {
    when: 'it received it, and something still runs',
    ack: { ...received, running: 2 },
    state: 'acknowledged',
  },
  { when: 'it received it, and has nothing to settle', ack: received, state: 'acknowledged' },
  { when: 'it received it and was denied', ack: received, replica: denied(AT + 9), state: 'acknowledged' },
  { when: 'it was told, and denied since', ack: told, replica: denied(AT + 1), state: 'denying' },
  { when: 'it was not told, and denied since', replica: denied(AT + 1), state: 'denying' },
  { when: 'it was denied in that millisecond, or before', replica: denied(AT), state: 'silent' },
  {
    when: 'it was denied since for another device',
    ack: told,
    replica: denied(AT + 1, 'x:y:z'),
    state: 'told',
  },
  { when: 'it was told', ack: told, state: 'told' },
  { when: 'it was told, and lives', ack: told, replica: { lastSeenAtMs: AT + 99_999 }, state: 'told' },
  { when: 'nothing was heard, though it lives', state: 'silent' },
  { when: 'nothing was heard of it since', replica: { lastSeenAtMs: AT - 10 }, state: 'silent' },
]

describe('of one replica that a stop hits', () => {
  test.each(STATES)('when $when: $state', ({ replica, ack, state }) => {
    const acks = ack === undefined ? [] : [{ ...ACK, ...ack }]
    const found = confirmationOf([STOP], [{ ...REPLICA, ...replica }], acks)
    expect(found.replicas.map((one) => one.state)).toEqual([state])
    expect(found.state).toBe(state === 'confirmed' ? 'confirmed' : 'unconfirmed')
  })

  test('says what became of its calls, and when', () => {
    const calls = [{ callId: 'c', runId: null, tool: 't', end: 'unknown' as const }]
    const ack = { ...ACK, ...settled, aborted: 1, finished: 2, unknown: 3, calls }
    expect(confirmationOf([STOP], [{ ...REPLICA, ...denied(AT + 4) }], [ack]).replicas).toEqual([
      {
        replica: 'r1',
        state: 'confirmed',
        toldAt: new Date(AT + 1).toISOString(),
        receivedAt: new Date(AT + 2).toISOString(),
        settledAt: new Date(AT + 3).toISOString(),
        lastDenied: { at: new Date(AT + 4).toISOString(), code: 'DEVICE_REVOKED' },
        lastSeenAt: new Date(AT + 5000).toISOString(),
        aborted: 1,
        finished: 2,
        unknown: 3,
        running: 0,
        calls,
      },
    ])
  })
})

const CONCERNS: readonly (readonly [string, Partial<StopRecord>, Partial<ReplicaRecord>, boolean])[] = [
  ['of its device', {}, {}, true],
  ['of another device', { deviceId: 'a:b:d' }, {}, false],
  ['of the org', { action: 'org.disable', deviceId: null }, {}, true],
  ['of the org, when it has no device', { action: 'org.disable', deviceId: null }, { devices: [] }, true],
  ['of a pattern that matches', { action: 'lock.add', deviceId: null, pattern: 'a:*:c' }, {}, true],
  ['of a pattern that does not', { action: 'lock.add', deviceId: null, pattern: 'b:*' }, {}, false],
  ['of its key', { action: 'key.burn', deviceId: null, keyId: 'k1' }, {}, true],
  ['of another key', { action: 'key.burn', deviceId: null, keyId: 'k2' }, {}, false],
  ['from before it was there', {}, { firstSeenAtMs: AT + 1 }, false],
  ['in the millisecond it came', {}, { firstSeenAtMs: AT }, true],
  ['after it left', {}, { leftAtMs: AT - 1 }, false],
  ['before it left', {}, { leftAtMs: AT + 1 }, true],
  ['an hour after it was heard of', {}, { lastSeenAtMs: AT - CONCERNED_MS, firstSeenAtMs: 0 }, true],
  ['longer after it was heard of', {}, { lastSeenAtMs: AT - CONCERNED_MS - 1, firstSeenAtMs: 0 }, false],
]

describe('a replica is waited for at a stop', () => {
  test.each(CONCERNS)('%s', (_, stop, replica, isConcerned) => {
    const found = confirmationOf([{ ...STOP, ...stop }], [{ ...REPLICA, ...replica }], [])
    expect(found.state).toBe(isConcerned ? 'unconfirmed' : 'no_replicas')
    expect(found.replicas).toHaveLength(isConcerned ? 1 : 0)
  })

  test('of a batch that has one of its devices', () => {
    const batch = ['x', 'a:b:c', 'z'].map((deviceId) => ({ ...STOP, deviceId }))
    expect(confirmationOf(batch, [REPLICA], []).replicas).toHaveLength(1)
  })

  test('whatever else, when it was told of it', () => {
    const elsewhere = { ...REPLICA, devices: [] }
    expect(confirmationOf([STOP], [elsewhere], [{ ...ACK, ...told }]).replicas).toHaveLength(1)
    expect(confirmationOf([STOP], [], [{ ...ACK, ...settled }])).toMatchObject({
      state: 'confirmed',
      replicas: [{ replica: 'r1', lastSeenAt: null }],
    })
  })
})

describe('what a process says of a stop that is none of its own counts for nothing', () => {
  const said = { ...ACK, settledAtMs: AT + 3 }
  test.each<readonly [string, Partial<StopRecord>, readonly Partial<ReplicaRecord>[]]>([
    ['one whose devices it does not hit', {}, [{ devices: [{ deviceId: 'x:y:z', inFlight: 0 }] }]],
    ['one that came after it', {}, [{ firstSeenAtMs: AT + 1 }]],
    ['one that nobody knows', {}, []],
    ['of another key', { action: 'key.burn', deviceId: null, keyId: 'k2' }, [{}]],
  ])('%s', (_, stop, replicas) => {
    const known = replicas.map((replica) => ({ ...REPLICA, ...replica }))
    expect(confirmationOf([{ ...STOP, ...stop }], known, [said])).toEqual({
      state: 'no_replicas',
      replicas: [],
    })
    // Nor does it keep one unconfirmed that others have confirmed.
    const other = { ...REPLICA, replica: 'r2', keyId: stop.keyId ?? 'k3' }
    const ofOther = { ...ACK, ...settled, replica: 'r2', keyId: other.keyId }
    const running = { ...ACK, receivedAtMs: AT + 1, running: 5 }
    const found = confirmationOf([{ ...STOP, ...stop }], [...known, other], [running, ofOther])
    expect(found).toMatchObject({ state: 'confirmed', replicas: [{ replica: 'r2' }] })
  })
})

test('a stop is confirmed only when each replica that it concerns has confirmed it', () => {
  const two = [REPLICA, { ...REPLICA, replica: 'r2' }]
  const first = { ...ACK, ...settled }
  expect(confirmationOf([STOP], two, [first]).state).toBe('unconfirmed')
  expect(confirmationOf([STOP], two, [first, { ...first, replica: 'r2' }]).state).toBe('confirmed')
  // A name is one replica's only together with its key.
  expect(confirmationOf([STOP], two, [first, { ...first, replica: 'r2', keyId: 'k2' }]).state).toBe(
    'unconfirmed',
  )
})
