import type { DatabaseSync, StatementSync } from 'node:sqlite'

import { overError } from '../transaction-errors.ts'

export interface LentDatabase {
  readonly db: DatabaseSync
  /** From here on it, and each statement prepared with it, throws `TRANSACTION_OVER`. */
  readonly end: () => void
}

/** The journal's connection for as long as a transaction is open: what is written later would not be part of it. */
export function lendDatabase(db: DatabaseSync): LentDatabase {
  let over = false
  const lend = <T extends object>(lent: T): T =>
    new Proxy(lent, {
      get: (target, name) => {
        if (over) throw overError()
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...given: unknown[]): unknown => {
          // It may have been taken off before.
          if (over) throw overError()
          const result: unknown = Reflect.apply(value, target, given)
          return name === 'prepare' ? lend(result as StatementSync) : result
        }
      },
    })
  return { db: lend(db), end: () => void (over = true) }
}
