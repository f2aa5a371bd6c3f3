import { describe, expect, test } from 'vitest'

import type { ReplicaRecord, StopAckRecord, StopEvidence } from '../../src/control-plane/stops/stop-store.ts'
import type { StopAckBody } from '../../src/machineid/wire-stops.ts'
import { auditEntry, decisionRecord, deviceRecord, KEY, ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

const OF = { orgId: ORG.orgId, keyId: KEY.keyId, replica: 'r1' }
const SEEN = { ...OF, keyKind: KEY.kind }

function stopEntry(action: string, epoch: number | undefined, deviceId: string | null = null) {
  const after = epoch === undefined ? { keyId: 'k' } : { epoch, keyId: 'k', pattern: 'a:*' }
  return auditEntry(action, { deviceId, after, atMs: (epoch ?? 0) * 10, actor: 'k9', actorKind: 'stop' })
}

export function describeStops(fixture: Fixture): void {
  const { write, put, addOrg, reopen } = fixture
  const since = async (after: number, limit = 100, orgId = ORG.orgId) =>
    (await fixture.store.stops.since(orgId, after, limit)).map(
      ({ epoch, deviceId }) => `${epoch} ${deviceId ?? ''}`,
    )

  describe('stops', () => {
    test('are the rows of the audit that stop something and raised the epoch, and no other', async () => {
      await write({
        audit: [
          stopEntry('device.revoke', 1, 'a'),
          stopEntry('device.unrevoke', 2, 'a'),
          stopEntry('device.remove', 3, 'a'),
          stopEntry('lock.add', 4),
          stopEntry('lock.release', 5),
          stopEntry('org.disable', 6),
          stopEntry('org.enable', 7),
          stopEntry('key.burn', 8),
          stopEntry('key.rotate', 9),
          stopEntry('key.rotate', undefined),
          stopEntry('key.issue', undefined),
        ],
      })
      await reopen()
      expect(await since(0)).toEqual(['1 a', '3 a', '4 ', '6 ', '8 ', '9 '])
      expect(await fixture.store.stops.since(ORG.orgId, 8, 9)).toEqual([
        {
          orgId: ORG.orgId,
          epoch: 9,
          action: 'key.rotate',
          deviceId: null,
          pattern: 'a:*',
          keyId: 'k',
          by: 'stop:k9',
          reason: null,
          atMs: 90,
        },
      ])
    })

    test('come in the order of their epochs, after one, those of one epoch all or none', async () => {
      await write({ audit: [stopEntry('device.revoke', 10, 'z')] })
      await write({ audit: ['a', 'b', 'c'].map((id) => stopEntry('device.revoke', 11, id)) })
      await write({ audit: [stopEntry('org.disable', 2 ** 32 + 1)] })
      expect(await since(0, 1)).toEqual(['10 z'])
      expect(await since(0, 2)).toEqual(['10 z', '11 a', '11 b', '11 c'])
      expect(await since(10, 1)).toEqual(['11 a', '11 b', '11 c'])
      expect(await since(10, 3)).toEqual(['11 a', '11 b', '11 c'])
      expect(await since(11, 5)).toEqual([`${2 ** 32 + 1} `])
      expect(await since(2 ** 32 + 1)).toEqual([])
    })

    test('tell the devices of one of them, what each was and what it is now, in pages', async () => {
      const stopped = (deviceId: string, before: unknown) => ({
        ...stopEntry('device.revoke', 7, deviceId),
        before,
      })
      await put(deviceRecord('b', 1, { revoked: true, epoch: 7 }), deviceRecord('a', 2, { epoch: 8 }))
      await write({
        audit: [
          stopped('b', { revoked: false }),
          stopped('a', { revoked: true }),
          stopped('gone', null),
          stopEntry('device.unrevoke', 7, 'c'),
          stopEntry('device.revoke', 8, 'a'),
        ],
      })
      const list = (after: number, limit: number) =>
        fixture.store.listStopDevices(ORG.orgId, 7, { after, limit })
      expect(await list(0, 2)).toEqual([
        { seq: 2, deviceId: 'b', wasRevoked: false, now: { revoked: true, removed: false, epoch: 7 } },
        { seq: 3, deviceId: 'a', wasRevoked: true, now: { revoked: false, removed: false, epoch: 8 } },
      ])
      expect(await list(3, 9)).toEqual([{ seq: 4, deviceId: 'gone', wasRevoked: false, now: undefined }])
      expect(await list(4, 9)).toEqual([])
    })

    test('belong to their org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await write({ audit: [stopEntry('device.revoke', 1, 'a')] }, 'o_other')
      expect(await since(0)).toEqual([])
      expect(await since(0, 9, 'o_other')).toEqual(['1 a'])
      expect(await fixture.store.listStops(ORG.orgId, { limit: 9 })).toEqual([])
      expect(await fixture.store.knownStops(ORG.orgId, [1])).toEqual(new Set())
    })

    test('are listed newest first, so many epochs, whole; or those of one', async () => {
      await write({ audit: [stopEntry('device.revoke', 1, 'z')] })
      await write({ audit: ['a', 'b'].map((id) => stopEntry('device.revoke', 2, id)) })
      await write({ audit: [stopEntry('device.unrevoke', 3, 'a'), stopEntry('lock.add', 4)] })
      const list = async (page: Parameters<StopLister>[1]) =>
        (await fixture.store.listStops(ORG.orgId, page)).map(
          ({ epoch, deviceId }) => `${epoch} ${deviceId ?? ''}`,
        )
      expect(await list({ limit: 2 })).toEqual(['4 ', '2 a', '2 b'])
      expect(await list({ limit: 9, beforeEpoch: 4 })).toEqual(['2 a', '2 b', '1 z'])
      expect(await list({ limit: 1, beforeEpoch: 2 })).toEqual(['1 z'])
      expect(await list({ limit: 9, beforeEpoch: 1 })).toEqual([])
      expect(await list({ limit: 1, epoch: 2 })).toEqual(['2 a', '2 b'])
      expect(await list({ limit: 1, epoch: 3 })).toEqual([])
      expect(await fixture.store.knownStops(ORG.orgId, [1, 2, 2, 3, 4, 5])).toEqual(new Set([1, 2, 4]))
    })
  })

  const record = (evidence: Partial<StopEvidence>) =>
    fixture.store.recordStopEvidence({ seen: [], told: [], acks: [], ...evidence })
  const replicas = (sinceMs = 0) => fixture.store.listReplicas(ORG.orgId, sinceMs)
  const replica = async () => (await replicas())[0] as ReplicaRecord
  const devices = (inFlight: number) => [{ deviceId: 'a:b:c', inFlight }]
  const report = (inFlight: number) => ({
    devices: devices(inFlight),
    timeoutMs: 2000,
    latencyMs: { p50: 1.5, p99: 9 },
  })

  describe('replicas', () => {
    test('are known by org, key and name, with what they last said of themselves', async () => {
      await record({ seen: [{ ...SEEN, atMs: 10, streamUp: true, devices: devices(0) }] })
      await record({ seen: [{ ...SEEN, atMs: 30, ...report(3) }] })
      await reopen()
      expect(await replicas()).toEqual([
        {
          ...SEEN,
          devices: devices(3),
          streamUp: true,
          firstSeenAtMs: 10,
          lastSeenAtMs: 30,
          leftAtMs: null,
          timeoutMs: 2000,
          latencyMs: { p50: 1.5, p99: 9 },
          lastDenied: null,
        },
      ])
      await record({
        seen: [
          { ...SEEN, atMs: 40, keyId: 'k2' },
          { ...SEEN, atMs: 40, replica: 'r0' },
        ],
      })
      expect((await replicas()).map(({ keyId, replica: name }) => `${keyId} ${name}`)).toEqual([
        `${KEY.keyId} r0`,
        `${KEY.keyId} r1`,
        'k2 r1',
      ])
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      expect(await fixture.store.listReplicas('o_other', 0)).toEqual([])
    })

    test('what comes late changes nothing that is newer', async () => {
      await record({ seen: [{ ...SEEN, atMs: 50, ...report(5), streamUp: false }] })
      await record({ seen: [{ ...SEEN, atMs: 40, ...report(4), streamUp: true }] })
      expect(await replica()).toMatchObject({
        streamUp: false,
        devices: devices(5),
        firstSeenAtMs: 40,
        lastSeenAtMs: 50,
      })
      // A stream that opened before a report that was stored first is open all the same.
      await record({ seen: [{ ...SEEN, replica: 'r2', atMs: 60, ...report(6) }] })
      await record({ seen: [{ ...SEEN, replica: 'r2', atMs: 55, streamUp: true }] })
      expect((await replicas())[1]).toMatchObject({ streamUp: true, devices: devices(6) })
    })

    test('one that left is gone until it opens a stream or reports again', async () => {
      await record({ seen: [{ ...SEEN, atMs: 10, ...report(1), streamUp: true }] })
      await record({ seen: [{ ...SEEN, atMs: 20, ...report(0), leaving: true }] })
      expect(await replica()).toMatchObject({ leftAtMs: 20 })
      await record({
        seen: [
          { ...SEEN, atMs: 21, streamUp: false },
          { ...SEEN, atMs: 22 },
        ],
      })
      await record({ seen: [{ ...SEEN, atMs: 15, ...report(1) }] })
      expect(await replica()).toMatchObject({ leftAtMs: 20, streamUp: false })
      await record({ seen: [{ ...SEEN, atMs: 30, ...report(0) }] })
      expect(await replica()).toMatchObject({ leftAtMs: null })
      await record({ seen: [{ ...SEEN, atMs: 40, ...report(0), leaving: true }] })
      await record({ seen: [{ ...SEEN, atMs: 41, streamUp: true }] })
      expect(await replica()).toMatchObject({ leftAtMs: null, streamUp: true })
    })

    test('are listed by their last sign of life, in pages', async () => {
      await record({
        seen: ['a', 'b', 'c', 'd'].map((name, n) => ({ ...SEEN, replica: name, atMs: n * 10 })),
      })
      const names = (found: readonly ReplicaRecord[]) => found.map(({ replica: name }) => name).join('')
      expect(names(await replicas(10))).toBe('bcd')
      const page = (after?: string) =>
        fixture.store.listReplicas(ORG.orgId, 10, {
          limit: 2,
          after: after === undefined ? undefined : { keyId: KEY.keyId, replica: after },
        })
      expect(names(await page())).toBe('bc')
      expect(names(await page('c'))).toBe('d')
    })

    test('no stream is open at the start of a control plane', async () => {
      await record({
        seen: [
          { ...SEEN, atMs: 10, streamUp: true },
          { ...SEEN, replica: 'r2', atMs: 10 },
        ],
      })
      await fixture.store.closeStreams()
      expect((await replicas()).map(({ streamUp }) => streamUp)).toEqual([false, false])
    })

    test('remember their last denial, of those that are known, and that they asked', async () => {
      await record({ seen: [{ ...SEEN, atMs: 10 }] })
      const decide = (atMs: number, changes = {}) =>
        fixture.store.recordDecisions({
          decisions: [decisionRecord(atMs, { replica: 'r1', ...changes })],
          keysUsed: new Map(),
          devicesSeen: new Map(),
        })
      await decide(30, { deviceId: 'x' })
      await decide(20, { deviceId: 'y' })
      await decide(40, { code: 'ALLOW' })
      await decide(50, { replica: null })
      await decide(60, { replica: 'unknown' })
      expect(await replicas()).toHaveLength(1)
      expect(await replica()).toMatchObject({
        lastSeenAtMs: 40,
        lastDenied: { atMs: 30, deviceId: 'x', code: 'DEVICE_REVOKED' },
      })
    })
  })

  const acks = (epoch = 7) => fixture.store.listStopAcks(ORG.orgId, epoch)
  const counts = { aborted: 0, finished: 0, unknown: 0, running: 0 }
  const ack = (atMs: number, phase: StopAckBody['phase'], changes: Partial<StopAckBody> = {}) => ({
    ...OF,
    atMs,
    ack: { epoch: 7, phase, ...counts, ...changes },
  })

  describe('what became of a stop', () => {
    test('is told, received, settled, each with its time, and what became of the calls', async () => {
      const calls = [{ callId: 'c', runId: null, tool: 't', end: 'aborted' as const }]
      await record({ told: [{ ...OF, atMs: 10, epoch: 7 }] })
      await record({ acks: [ack(20, 'received', { running: 2 })] })
      expect(await acks()).toMatchObject([{ toldAtMs: 10, receivedAtMs: 20, settledAtMs: null, running: 2 }])
      await record({ acks: [ack(30, 'settled', { aborted: 1, finished: 1, calls })] })
      await reopen()
      expect(await acks()).toEqual<StopAckRecord[]>([
        {
          ...OF,
          epoch: 7,
          toldAtMs: 10,
          receivedAtMs: 20,
          settledAtMs: 30,
          ...counts,
          aborted: 1,
          finished: 1,
          calls,
        },
      ])
      expect(await acks(8)).toEqual([])
    })

    test('twice, late and out of order change nothing', async () => {
      await record({ acks: [ack(30, 'settled', { aborted: 2 })] })
      await record({ acks: [ack(20, 'received', { running: 2 })] })
      await record({ acks: [ack(40, 'settled', { aborted: 9 }), ack(41, 'received', { running: 9 })] })
      await record({
        told: [
          { ...OF, atMs: 15, epoch: 7 },
          { ...OF, atMs: 50, epoch: 7 },
        ],
      })
      expect(await acks()).toMatchObject([
        { toldAtMs: 15, receivedAtMs: 20, settledAtMs: 30, aborted: 2, running: 0 },
      ])
    })

    test('that something still runs can be settled later, and never unsettled', async () => {
      await record({ acks: [ack(30, 'settled', { running: 1 })] })
      await record({ acks: [ack(40, 'settled', { finished: 1 })] })
      await record({ acks: [ack(50, 'settled', { running: 5 })] })
      expect(await acks()).toMatchObject([{ settledAtMs: 30, running: 0, finished: 1 }])
    })

    test('is kept for each replica of each key, and read in pages', async () => {
      const told = [
        ['k1', 'a'],
        ['k1', 'b'],
        ['k2', 'a'],
      ].map(([keyId = '', name = '']) => ({ ...OF, keyId, replica: name, atMs: 1, epoch: 7 }))
      await record({ told })
      const names = (found: readonly StopAckRecord[]) => found.map(({ keyId, replica: name }) => keyId + name)
      expect(names(await acks())).toEqual(['k1a', 'k1b', 'k2a'])
      const after = { keyId: 'k1', replica: 'a' }
      expect(names(await fixture.store.listStopAcks(ORG.orgId, 7, { after, limit: 1 }))).toEqual(['k1b'])
    })
  })

  test('evidence without a sign of life for long is deleted, a limited number at a time', async () => {
    await record({
      seen: ['a', 'b', 'c'].map((name, n) => ({ ...SEEN, replica: name, atMs: n * 10 })),
      told: [1, 2, 3].map((epoch) => ({ ...OF, atMs: epoch * 10, epoch })),
    })
    const prune = (limit: number) => fixture.store.pruneStopEvidence(20, limit)
    expect([await prune(1), await prune(9), await prune(9)]).toEqual([1, 2, 0])
    expect((await replicas()).map(({ replica: name }) => name)).toEqual(['c'])
    expect([await acks(1), await acks(2), await acks(3)].map(({ length }) => length)).toEqual([0, 1, 1])
  })

  test('G5: the store says of itself that a commit is on the disk when it returns', async () => {
    const durability = await fixture.store.durability()
    expect(durability).toMatchObject(
      durability.kind === 'sqlite'
        ? { synchronous: expect.stringMatching(/^(full|extra)$/) }
        : { fsync: 'on', synchronousCommit: 'on' },
    )
  })
}

type StopLister = Fixture['store']['listStops']
