import { expect, test } from 'vitest'

import { patiently } from '../../../src/control-plane/nodes/patiently.ts'
import { HoldpointError } from '../../../src/errors.ts'

// G8: what was decided right before Postgres went away is stored when it is back.

/** Fails with each of these, then works. */
function failing(...codes: readonly string[]) {
  const left = [...codes]
  let asked = 0
  const write = async () => {
    asked++
    const code = left.shift()
    if (code !== undefined) throw new HoldpointError(code, 'not now')
  }
  return { write, asked: () => asked }
}

test('waits for a store that is away, and for a commit that nobody confirmed', async () => {
  const { write, asked } = failing('STORE_UNREACHABLE', 'STORE_OUTCOME_UNKNOWN', 'STORE_IN_RECOVERY')
  await patiently(write, { waitMs: 1 })
  expect(asked()).toBe(4)
})

test('not for ever', async () => {
  const { write, asked } = failing('STORE_UNREACHABLE', 'STORE_UNREACHABLE', 'STORE_UNREACHABLE')
  await expect(patiently(write, { tries: 3, waitMs: 1 })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  expect(asked()).toBe(3)
})

test('and not for what stays', async () => {
  const { write, asked } = failing('STORE_FULL')
  await expect(patiently(write, { waitMs: 1 })).rejects.toMatchObject({ code: 'STORE_FULL' })
  expect(asked()).toBe(1)
})
