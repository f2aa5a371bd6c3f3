import { expect, test } from 'vitest'

import { createPatience } from '../../../src/control-plane/nodes/patiently.ts'
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
  await createPatience({ waitMs: 1 })(write)
  expect(asked()).toBe(4)
})

test('not for ever', async () => {
  let atMs = 0
  const patiently = createPatience({ patienceMs: 100, waitMs: 1, nowMs: () => (atMs += 40) })
  const { write, asked } = failing(...Array.from({ length: 9 }, () => 'STORE_UNREACHABLE'))
  await expect(patiently(write)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  expect(asked()).toBe(3)
  // The next ones of the same outage are tried once, until one succeeds.
  const next = failing('STORE_UNREACHABLE')
  await expect(patiently(next.write)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  expect(next.asked()).toBe(1)
  await patiently(next.write)
  const later = failing('STORE_UNREACHABLE')
  await patiently(later.write)
  expect(later.asked()).toBe(2)
})

test('and not for what stays', async () => {
  const { write, asked } = failing('STORE_FULL')
  await expect(createPatience({ waitMs: 1 })(write)).rejects.toMatchObject({ code: 'STORE_FULL' })
  expect(asked()).toBe(1)
})
