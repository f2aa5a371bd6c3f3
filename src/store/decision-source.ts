import type { StopReader } from '../control-plane/stops/stop-store.ts'
import type { DecisionReader } from '../control-plane/store.ts'
import { openDecisionReader as openPostgres, type DecisionReaderOptions } from './postgres/decision-reader.ts'
import { openDecisionReader as openSqlite } from './sqlite/control-plane.ts'

/** Where decisions are read from, in words that can be sent to another thread. */
export type DecisionSource =
  { readonly kind: 'sqlite'; readonly file: string } | ({ readonly kind: 'postgres' } & DecisionReaderOptions)

export interface OpenDecisionReader {
  readonly reader: DecisionReader
  readonly stops: StopReader
  readonly close: () => void | Promise<void>
}

/** Connections of its own, for validates and streams of stops in a thread of their own. The store must be open already. */
export function openDecisionReaderOf(source: DecisionSource): OpenDecisionReader {
  return source.kind === 'sqlite' ? openSqlite(source.file) : openPostgres(source)
}
