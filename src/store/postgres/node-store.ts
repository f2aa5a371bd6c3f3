import type { NodeStore } from '../../control-plane/nodes/node-store.ts'
import { createStoreClock } from '../../control-plane/nodes/store-clock.ts'
import type { Database } from './database.ts'
import { createDecisionRates } from './decision-rates.ts'
import { createDrillRunState } from './drill-run-state.ts'
import { createChores, createNodeRegistry } from './nodes.ts'
import { createSharedLimits } from './shared-limits.ts'
import { withoutStandby } from './without-standby.ts'

export interface OpenedNodeStore extends NodeStore {
  /** Measures the database's time no more. */
  readonly closeClock: () => void
}

/** What nodes know of each other and count together. Asks the database for its time at once, and goes on doing so. */
export async function openNodeStore(
  database: Database,
  { nodeId, generation, monotonicMs }: NodeStoreOptions,
): Promise<OpenedNodeStore> {
  const own = withoutStandby(database)
  const rates = createDecisionRates(database, own, generation)
  await rates.beginRates()
  const measured = await createStoreClock({ measure: () => databaseTimeMs(database), monotonicMs })
  return {
    clock: measured.clock,
    clockOffset: measured.clockOffset,
    closeClock: measured.close,
    ...createNodeRegistry(own, nodeId),
    ...createChores(own, nodeId),
    ...createSharedLimits(database),
    ...rates,
    ...createDrillRunState(database),
  }
}

export interface NodeStoreOptions {
  /** Of this process, new with each start. */
  readonly nodeId: string
  /** Of the store as it is now. */
  readonly generation: () => number
  readonly monotonicMs?: (() => number) | undefined
}

/** Wall-clock milliseconds, with fractions. */
async function databaseTimeMs(database: Database): Promise<number> {
  const [row] = await database.query('SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now_ms')
  return Number(row?.['now_ms'])
}
