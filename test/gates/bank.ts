import { onTestFinished } from 'vitest'

import { defineEffect } from '../../src/guard/effect.ts'
import { startedGuard } from '../fixtures/guard.ts'

/** A sink that counts, and two effects on it: keyed by unit, and keyed by call. */
export function bank() {
  const charges: number[] = []
  const mails: number[] = []
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: (unit: number) => `unit-${unit}`,
    run: (unit) => void charges.push(unit),
  })
  const mail = defineEffect({
    kind: 'email',
    name: 'mail',
    surface: 'email',
    key: 'each-call',
    run: (unit: number) => void mails.push(unit),
  })
  return { charges, mails, effects: { charge, mail } }
}

/** The same numbers as a source that may wait, with a record of what was taken. */
export async function* later<Unit>(units: Iterable<Unit>, taken: Unit[] = []): AsyncGenerator<Unit> {
  for (const unit of units) {
    await new Promise((resolve) => setImmediate(resolve))
    taken.push(unit)
    yield unit
  }
}

export const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

/** A started guard on a scripted authority, and a bank. */
export async function world() {
  const made = await startedGuard()
  onTestFinished(async () => void (await made.guard.close({ graceMs: 0 })))
  const payments = made.guard.surface('payments')
  return { ...made, ...bank(), payments, started: [] as number[] }
}
