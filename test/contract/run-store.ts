import { afterEach, beforeEach, describe } from 'vitest'

import type { RunStore } from '../../src/agents/hosted/run-store.ts'
import { describeApprovalUse } from './run-store-approval-use.ts'
import { describeApprovals } from './run-store-approvals.ts'
import { describeClaims } from './run-store-claims.ts'
import { describeRecords } from './run-store-records.ts'

/** One store of a test, and its clock. */
export interface RunStoreUnderTest {
  readonly store: RunStore
  nowMs: number
}

/** What every run store must do, whatever it stores in. `create` gets the clock that the test moves. */
export function describeRunStore(
  name: string,
  create: (nowMs: () => number) => RunStore | Promise<RunStore>,
): void {
  describe(`run store: ${name}`, () => {
    let current: RunStoreUnderTest
    beforeEach(async () => {
      const at: { store?: RunStore; nowMs: number } = { nowMs: 1_700_000_000_000 }
      at.store = await create(() => at.nowMs)
      current = at as RunStoreUnderTest
    })
    afterEach(() => current.store.close())
    const test = () => current
    describeRecords(test)
    describeClaims(test)
    describeApprovals(test)
    describeApprovalUse(test)
  })
}
