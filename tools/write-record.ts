import { guardedTool, type Guard } from 'holdpoint'
import { z } from 'zod'

import type { Records } from './records.ts'

/** Writes one record. Writing A, then B, then A again must write three times, so each call writes. */
export function writeRecord(guard: Guard, records: Records) {
  return guardedTool(guard.surface('records'), {
    name: 'write_record',
    description: 'Write a text under a key. What was there before is replaced.',
    parameters: z.object({ key: z.string().min(1), value: z.string() }),
    effect: 'write',
    key: 'each-call',
    commit: ({ key, value }) => {
      records.write(key, value)
      return { key, written: true }
    },
  })
}
