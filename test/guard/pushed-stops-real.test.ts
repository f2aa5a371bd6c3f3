// A real control plane with its lanes in worker threads, the real client, and a guard: over real sockets.
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'

import { defineEffect } from '../../src/guard/effect.ts'
import { createGuard, type Guard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { ReplicaBody, StopBody } from '../../src/machineid/wire-stops.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
})
afterAll(() => authority.close())

let count = 0
/** A started guard with devices of its own, whose stream of stops is up. */
async function startedReplica(orgKey = authority.keys.runtime) {
  count += 1
  const serverDeviceId = `openai-agent:test${count}:tool-server:01`
  const client = new MachineID({ orgKey, baseUrl: authority.url, replica: `${serverDeviceId}/replica` })
  const guard = createGuard({
    authority: client,
    serverDeviceId,
    surfaces: ['payments', 'email'],
    journal: createMemoryJournal(),
    log: createLogger({ level: 'silent' }),
    onClose: () => client.close(),
  })
  onTestFinished(async () => void (await guard.close({ graceMs: 0 })))
  expect(await guard.start()).toMatchObject({ code: 'ALLOW' })
  await eventually(() => expect(guard.stopStream).toMatchObject({ up: true, keyKind: 'runtime' }))
  const device = (surface: string) => guard.surface(surface).deviceIds.at(-1) as string
  return { guard, device, replica: `${serverDeviceId}/replica` }
}

const eventually = <T>(look: () => T | Promise<T>) => vi.waitFor(look, { timeout: 5000, interval: 10 })

async function stopOf(epoch: number): Promise<StopBody> {
  const { body } = await authority.get(`${PATHS.stopHistory}?epoch=${epoch}`, authority.keys.viewer)
  return body.stops[0]
}

async function replicaOf(name: string): Promise<ReplicaBody | undefined> {
  const { body } = await authority.get(PATHS.replicas, authority.keys.viewer)
  return (body.replicas as ReplicaBody[]).find(({ replica }) => replica === name)
}

/** A reading tool on `surface` that runs until it is aborted. */
async function readingCall(guard: Guard, surface: string) {
  const begun = Promise.withResolvers<AbortSignal>()
  const outcome = guard.call(
    { surface: guard.surface(surface), tool: 'read_ledger', callId: `read-${surface}` },
    ({ signal }) => {
      begun.resolve(signal)
      const { promise, reject } = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => reject(new Error('aborted')))
      return promise
    },
  )
  return { outcome, signal: await begun.promise }
}

describe('a stop, from the ack to the word that nothing runs any more', () => {
  test('G1: revoke aborts a reading body, an effect finishes, another surface goes on; the history says confirmed', async () => {
    const { guard, device, replica } = await startedReplica()
    const reading = await readingCall(guard, 'payments')
    const other = await readingCall(guard, 'email')
    const paying = Promise.withResolvers<void>()
    const bank = Promise.withResolvers<string>()
    const pay = defineEffect<object, string>({
      kind: 'payment',
      name: 'charge',
      key: 'each-call',
      run: () => (paying.resolve(), bank.promise),
    })
    const paid = guard.call({ surface: guard.surface('payments'), tool: 'pay', callId: 'pay-1' }, (call) =>
      call.commit(pay, {}),
    )
    await paying.promise

    const epoch = await authority.revoke(device('payments'))
    expect(await reading.outcome).toMatchObject({ ok: false })
    expect([reading.signal.aborted, other.signal.aborted]).toEqual([true, false])
    await eventually(async () =>
      expect(await stopOf(epoch)).toMatchObject({
        state: 'unconfirmed',
        replicas: [{ replica, state: 'acknowledged', running: 2, settledAt: null }],
      }),
    )

    bank.resolve('paid')
    expect(await paid).toMatchObject({ ok: true, value: { result: 'paid' } })
    await eventually(async () => expect(await stopOf(epoch)).toMatchObject({ state: 'confirmed' }))
    const [told] = (await stopOf(epoch)).replicas
    expect(told).toMatchObject({ state: 'confirmed', aborted: 1, finished: 1, unknown: 0, running: 0 })
    expect(told?.calls).toEqual([
      { callId: 'read-payments', runId: null, tool: 'read_ledger', end: 'aborted' },
      { callId: 'pay-1', runId: null, tool: 'pay', end: 'finished' },
    ])
    const denied = await guard.run({ surface: guard.surface('payments'), boundary: 'tool' }, () => undefined)
    expect(denied.decision.code).toBe('DEVICE_REVOKED')

    await authority.restore(device('payments'))
    const again = await readingCall(guard, 'payments')
    expect(again.signal.aborted).toBe(false)
    await guard.close()
    await Promise.all([again.outcome, other.outcome])
    await eventually(async () => expect(await replicaOf(replica)).toBeUndefined())
  })

  test('presence is seen by operators, and a stop that came while the stream was away is told when it is back', async () => {
    const { guard, device, replica } = await startedReplica()
    const reading = await readingCall(guard, 'payments')
    await eventually(async () =>
      expect(await replicaOf(replica)).toMatchObject({ stream: 'up', silent: false, keyKind: 'runtime' }),
    )
    await authority.restart()
    const epoch = await authority.revoke(device('payments'))
    expect(await reading.outcome).toMatchObject({ ok: false })
    await eventually(async () => expect(await stopOf(epoch)).toMatchObject({ state: 'confirmed' }))
    await guard.close()
  })

  test('G1: the burn of its key aborts everything that a replica runs', async () => {
    const issued = await authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime' })
    const { guard } = await startedReplica(issued.key)
    const calls = [await readingCall(guard, 'payments'), await readingCall(guard, 'email')]
    const { status } = await authority.post(
      PATHS.keyBurn.replace(':id', issued.keyId),
      { reason: 'test' },
      authority.keys.admin,
    )
    expect(status).toBe(200)
    await Promise.all(calls.map(({ outcome }) => outcome))
    expect(calls.map(({ signal }) => signal.aborted)).toEqual([true, true])
    await eventually(() =>
      expect(guard.stopStream).toMatchObject({ up: false, code: 'AUTHORITY_UNAUTHORIZED' }),
    )
    await guard.close()
  })
})
