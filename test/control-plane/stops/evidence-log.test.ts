import { describe, expect, onTestFinished, test } from 'vitest'

import { createControlPlane } from '../../../src/control-plane/control-plane.ts'
import { createStopEvidenceLog } from '../../../src/control-plane/stops/evidence-log.ts'
import type { StopEvidence, StopRecord } from '../../../src/control-plane/stops/stop-store.ts'
import { createLogger } from '../../../src/log.ts'
import { openControlPlaneStore } from '../../../src/store/sqlite/control-plane.ts'
import { KEY, ORG } from '../../contract/control-plane-records.ts'
import { logLines } from '../../fixtures/log-lines.ts'
import { temporaryFiles } from '../../fixtures/temporary-files.ts'

const newFile = temporaryFiles('evidence-log')
const silent = createLogger({ level: 'silent' })
const PLATFORM = { actor: 'platform', kind: 'platform', requestId: null, origin: null } as const

async function openStore() {
  const store = openControlPlaneStore({ file: newFile() })
  let isOpen = true
  const close = async () => {
    if (isOpen) await store.close()
    isOpen = false
  }
  onTestFinished(close)
  await store.change(ORG.orgId, {}, () => ({ result: undefined, org: ORG, keys: [KEY] }))
  return { ...store, close }
}

function listen(store: Awaited<ReturnType<typeof openStore>>) {
  let failures = 0
  const { log, lines } = logLines()
  const evidence = createStopEvidenceLog({ store, log, onFailed: () => void failures++ })
  return { evidence, lines, failures: () => failures }
}

const seen = (replica: string): StopEvidence['seen'][number] => ({
  orgId: ORG.orgId,
  keyId: KEY.keyId,
  keyKind: KEY.kind,
  replica,
  atMs: 10,
})
const namesIn = async (store: Awaited<ReturnType<typeof openStore>>) =>
  (await store.listReplicas(ORG.orgId, 0)).map(({ replica }) => replica)

describe('evidence of stops', () => {
  test('is stored by itself within 100 ms, and at once when it is closed; then nothing more is taken', async () => {
    const store = await openStore()
    const { evidence } = listen(store)
    evidence.observe({ seen: [seen('a')] })
    expect(await namesIn(store)).toEqual([])
    await expect.poll(() => namesIn(store), { interval: 20 }).toEqual(['a'])
    evidence.observe({ seen: [seen('b')] })
    await evidence.close()
    evidence.observe({ seen: [seen('c')] })
    await evidence.flush()
    expect(await namesIn(store)).toEqual(['a', 'b'])
  })

  test('that cannot be stored is logged, and nobody is hindered', async () => {
    const store = await openStore()
    const { evidence, lines, failures } = listen(store)
    await evidence.flush()
    await store.close()
    evidence.observe({ seen: [seen('a')] })
    await evidence.flush()
    expect(failures()).toBe(1)
    expect(lines().map(({ msg }) => msg)).toEqual([
      'evidence of stops could not be stored; another line will say when that is over',
    ])
  })

  test('that comes faster than the disk takes it is dropped, and said so: memory is bounded', async () => {
    const store = await openStore()
    const { evidence, lines } = listen(store)
    const many = Array.from({ length: 50_000 }, () => seen('a'))
    evidence.observe({ seen: many })
    evidence.observe({ seen: [seen('late')] })
    await evidence.flush()
    expect(await namesIn(store)).toEqual(['a'])
    expect(lines()).toMatchObject([{ dropped: 1 }])
  })

  test('what is on its way to a slow disk counts too', async () => {
    const store = await openStore()
    const disk = Promise.withResolvers<void>()
    const recordStopEvidence = async (evidence: StopEvidence) => {
      await disk.promise
      return store.recordStopEvidence(evidence)
    }
    const { evidence, lines } = listen({ ...store, recordStopEvidence })
    for (let flushes = 0; flushes < 3; flushes++) {
      evidence.observe({ seen: Array.from({ length: 25_000 }, () => seen(`part ${flushes}`)) })
      void evidence.flush()
    }
    disk.resolve()
    await evidence.flush()
    expect(await namesIn(store)).toEqual(['part 0', 'part 1'])
    expect(lines()).toMatchObject([{ dropped: 25_000 }])
    // What was written has made room.
    evidence.observe({ seen: [seen('later')] })
    await evidence.flush()
    expect(await namesIn(store)).toContain('later')
  })

  test('closes the streams of an earlier process before it notes one of its own', async () => {
    const store = await openStore()
    await store.recordStopEvidence({ seen: [{ ...seen('old'), streamUp: true }], told: [], acks: [] })
    const { evidence } = listen(store)
    evidence.observe({ seen: [{ ...seen('new'), streamUp: true }] })
    await evidence.flush()
    const streams = (await store.listReplicas(ORG.orgId, 0)).map(({ replica, streamUp }) => [
      replica,
      streamUp,
    ])
    expect(streams).toEqual([
      ['new', true],
      ['old', false],
    ])
  })
})

test('G5: stops are told of after COMMIT, whole, in their order; restores and refusals never', async () => {
  const store = openControlPlaneStore({ file: newFile() })
  const told: StopRecord[][] = []
  const controlPlane = createControlPlane({
    store,
    log: silent,
    loopback: true,
    onStops: (stops) => {
      // What is told can be read by then.
      const [first] = stops
      expect(store.stops.since(first?.orgId ?? '', (first?.epoch ?? 0) - 1, 99)).toEqual(stops)
      told.push([...stops])
    },
  })
  const { service } = controlPlane
  const { orgId } = await service.createOrg({ kinds: [] })
  for (const deviceId of ['a:b:c', 'a:b:d']) await service.register(PLATFORM, orgId, { deviceId })
  const { epoch } = await service.revoke(PLATFORM, orgId, { deviceId: 'a:b:c' })
  await service.unrevoke(PLATFORM, orgId, { deviceId: 'a:b:c', ifEpoch: epoch, unconditional: false })
  await expect(service.revoke(PLATFORM, orgId, { deviceId: 'none' })).rejects.toThrow()
  await service.previewRevoke(PLATFORM, orgId, { deviceId: 'a:b:c' })
  await service.revokeBatch(PLATFORM, orgId, { selection: { ids: ['a:b:c', 'a:b:d'] } })
  const { keyId } = await service.issueKey({ orgId, kind: 'viewer', caller: PLATFORM })
  await service.rotateKey(PLATFORM, orgId, { keyId, overlapSeconds: 60 })
  await service.disableOrg(PLATFORM, orgId)
  expect(
    told.map((stops) => stops.map((stop) => `${stop.epoch} ${stop.action} ${stop.deviceId ?? ''}`)),
  ).toEqual([
    ['1 device.revoke a:b:c'],
    ['3 device.revoke a:b:c', '3 device.revoke a:b:d'],
    ['4 org.disable '],
  ])
  await controlPlane.close()
})
