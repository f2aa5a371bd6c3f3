import { beforeEach, describe, expect, test, vi } from 'vitest'

import { defineEffect, type Reconciled } from '../../src/guard/effect.ts'
import { LEASE_MS, type AnyEffect } from '../../src/guard/effect-run.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { reconcileUnknown } from '../../src/guard/settle-unknown.ts'
import { startedGuard } from '../fixtures/guard.ts'

const TTL_MS = 2 * LEASE_MS
let nowMs: number
beforeEach(() => {
  nowMs = 1_700_000_000_000
})

/** A payment whose connection was cut, and a sink that answers `found` when it is asked. */
async function cut(found: Reconciled<string>['state'], sinkKeyTtlMs?: number) {
  const made = await startedGuard({ journal: createMemoryJournal({ nowMs: () => nowMs }) })
  const run = vi.fn(() => Promise.reject(new Error('socket hang up')))
  const charge = defineEffect<string, string>({
    kind: 'payment',
    name: 'charge',
    key: (invoice) => invoice,
    run,
    reconcile: async () => ({ state: found, result: 'receipt' }),
    ...(sinkKeyTtlMs !== undefined && { sinkKeyTtlMs }),
  })
  const surface = made.guard.surface('payments')
  const pay = () =>
    made.guard.call({ surface, tool: 'pay', callId: 'call_1' }, (call) => call.commit(charge, 'INV-1'))
  await pay()
  const reconcile = async () => {
    const [entry] = await made.guard.journal.listUnknown()
    if (entry === undefined) throw new Error('nothing is unknown')
    return reconcileUnknown(made.guard, entry, charge as AnyEffect, 'olga')
  }
  return { pay, run, reconcile }
}

const unknown = { settled: false, why: 'unknown' }

describe('an operator has the sink asked about an unknown outcome', () => {
  test('done counts at once', async () => {
    const { reconcile, pay } = await cut('done', TTL_MS)
    expect(await reconcile()).toEqual({ settled: true, state: 'done' })
    expect(await pay()).toMatchObject({ ok: true, replayed: true, value: { result: 'receipt' } })
  })

  test('C4: absent frees nothing while the sink honours the key: it may be on its way, or the search may lag', async () => {
    const { reconcile } = await cut('absent', TTL_MS)
    nowMs += TTL_MS - 1
    expect(await reconcile()).toEqual(unknown)
    nowMs += 1
    expect(await reconcile()).toEqual({ settled: true, state: 'failed' })
  })

  test('until then the same call is sent again, under the same key', async () => {
    const { reconcile, pay, run } = await cut('absent', TTL_MS)
    await reconcile()
    await pay()
    expect(run).toHaveBeenCalledTimes(2)
  })

  test('a sink without such keys is believed at once', async () => {
    const { reconcile } = await cut('absent')
    expect(await reconcile()).toEqual({ settled: true, state: 'failed' })
  })

  test('a clock that was set back tells no age, so absent does not count', async () => {
    const { reconcile } = await cut('absent', TTL_MS)
    nowMs -= 3_600_000
    expect(await reconcile()).toEqual(unknown)
  })
})

test('C4: nor does it count for a call, when the clock was set back', async () => {
  const { pay, run } = await cut('absent', TTL_MS)
  nowMs -= 3_600_000
  expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
  expect(run).toHaveBeenCalledTimes(1)
})
