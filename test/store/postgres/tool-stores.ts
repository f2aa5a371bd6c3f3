import { afterAll, beforeAll } from 'vitest'

import {
  createPostgresToolStore,
  type PostgresToolStoreOptions,
} from '../../../src/store/postgres/tool-store.ts'
import type { ToolStore } from '../../../src/store/tool-store.ts'
import { startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'

export interface ToolStores {
  readonly server: () => TestPostgres
  readonly url: () => string
  /** Another replica on the same database. */
  readonly open: (options?: Partial<PostgresToolStoreOptions>) => Promise<ToolStore>
  /** Empties the database, and gives the one store of this file, on another clock. It is closed after all tests. */
  readonly emptied: (nowMs?: () => number) => Promise<ToolStore>
  readonly rows: (sql: string, values?: unknown[]) => Promise<Record<string, unknown>[]>
}

const EMPTY = ['effect_journal', 'run_states', 'run_steps', 'approvals', 'operator_log', 'runs']
  .map((table) => `DELETE FROM ${table}`)
  .join('; ')

/** One Postgres with one database for all tests of a file. */
export function toolStores(): ToolStores {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
    url = await server.createDatabase()
  })
  let shared: ToolStore | undefined
  let clock: () => number
  afterAll(async () => {
    await shared?.close()
    await server?.close()
  })
  const open: ToolStores['open'] = (options) =>
    createPostgresToolStore({ url, poolSize: 4, timeoutMs: 5000, ...options })
  const rows: ToolStores['rows'] = (sql, values) =>
    server.query(`${url}?options=-c%20search_path%3Dholdpoint_tools`, sql, values)
  return {
    server: () => server,
    url: () => url,
    open,
    emptied: async (nowMs = Date.now) => {
      clock = nowMs
      shared ??= await open({ nowMs: () => clock() })
      await rows(EMPTY)
      const close = async () => {}
      return { ...shared, journal: { ...shared.journal, close }, runs: { ...shared.runs, close } }
    },
    rows,
  }
}
