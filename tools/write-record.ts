import { guardedTool, type Guard } from 'holdpoint'
import { z } from 'zod'

import type { Records } from './records.ts'

/**
 * Writes one record. Writing A, then B, then A again must write three times, so each call writes. Records that lie in
 * the journal's database are written in the transaction of their outcome: exactly once, whenever the process dies.
 */
export function writeRecord(guard: Guard, records: Records) {
  return guardedTool(guard.surface('records'), {
    name: 'write_record',
    description: 'Write a text under a key. What was there before is replaced.',
    parameters: z.object({ key: z.string().min(1), value: z.string() }),
    effect: 'write',
    key: 'each-call',
    transactional: records.sharesJournal,
    commit: ({ key, value }, { transaction }) => {
      const answer = { key, written: true }
      // In a SQLite transaction nothing may be awaited, and nothing needs to be.
      return records.write(key, value, transaction)?.then(() => answer) ?? answer
    },
  })
}
