import { expect, test } from 'vitest'

import type { CrashPoint } from '../../src/guard/crash-points.ts'
import { defineEffect, EffectNotPerformed } from '../../src/guard/effect.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('crash-points')

/** The crash points that one call passes, with what was true at each of them. */
async function passed(
  run: () => unknown,
  { transactional = false, deny = false } = {},
): Promise<readonly (readonly [point: CrashPoint, journal: string | undefined, ran: number])[]> {
  const file = newFile()
  const seen: Promise<[CrashPoint, string | undefined, number]>[] = []
  let ran = 0
  const other = createSqliteToolStore({ file })
  const atCrashPoint = (point: CrashPoint) => {
    const ranBefore = ran
    const listed = other.journal.listRun({ caller: 'alice', runId: 'run_1' })
    seen.push(listed.then(([entry]) => [point, entry?.state, ranBefore]))
  }
  const { journal, close } = createSqliteToolStore({ file, atCrashPoint })
  const { guard, authority } = await startedGuard({ journal, atCrashPoint })
  if (deny)
    authority.beforeAnswer = ({ boundary }) => {
      if (boundary === 'side_effect') authority.stop(PAYMENTS)
    }
  const effect = defineEffect({
    kind: 'payment',
    name: 'pay',
    key: () => 'INV-1',
    transactional,
    run: () => {
      ran += 1
      return run()
    },
  })
  const call = { surface: guard.surface('payments'), tool: 'pay', runId: 'run_1', caller: 'alice' }
  await guard.call(call, (active) => active.commit(effect, {}))
  const points = await Promise.all(seen)
  await close()
  await other.close()
  return points
}

test('an effect passes each of its crash points once, at the instant that it is named for', async () => {
  expect(await passed(async () => 'paid')).toEqual([
    ['call.allowed', undefined, 0],
    ['effect.intent_writing', undefined, 0],
    ['effect.intent_stored', 'intent', 0],
    ['effect.allowed', 'intent', 0],
    ['effect.performed', 'intent', 1],
    ['effect.outcome_stored', 'done', 1],
  ])
})

test('a transactional effect has happened before it is durable', async () => {
  expect(await passed(() => 'written', { transactional: true })).toEqual([
    ['call.allowed', undefined, 0],
    ['effect.intent_writing', undefined, 0],
    ['effect.intent_stored', 'intent', 0],
    ['effect.allowed', 'intent', 0],
    ['effect.performed', 'intent', 1],
    ['effect.outcome_stored', 'done', 1],
  ])
})

test('one that was not performed says nothing of having happened', async () => {
  const points = await passed(() => {
    throw new EffectNotPerformed('Declined.')
  })
  expect(points.slice(3)).toEqual([
    ['effect.allowed', 'intent', 0],
    ['effect.outcome_stored', 'failed', 1],
  ])
})

test('one that was denied is never allowed', async () => {
  const points = await passed(() => undefined, { deny: true })
  expect(points.slice(2)).toEqual([
    ['effect.intent_stored', 'intent', 0],
    ['effect.outcome_stored', 'denied', 0],
  ])
})
