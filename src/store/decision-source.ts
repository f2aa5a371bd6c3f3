import type { StopReader } from '../control-plane/stops/stop-store.ts'
import type { DecisionReader } from '../control-plane/store.ts'
import { labelOf } from './postgres/database.ts'
import { openDecisionReader as openPostgres, type DecisionReaderOptions } from './postgres/decision-reader.ts'
import { followAdmission } from './postgres/follow.ts'
import type { Knowledge, Learned } from './postgres/learned.ts'
import { openDecisionReader as openSqlite } from './sqlite/control-plane.ts'

/** Where decisions are read from by other threads than the one that has the store open. */
export type DecisionSource = OfFile | (OfDatabase & { readonly knowledge: Knowledge })

/** The same, in words that can be sent to such a thread. */
export type ThreadSource = OfFile | (OfDatabase & { readonly learned: Learned })

type OfFile = { readonly kind: 'sqlite'; readonly file: string }
type OfDatabase = { readonly kind: 'postgres' } & DecisionReaderOptions

export interface OpenDecisionReader {
  readonly reader: DecisionReader
  readonly stops: StopReader
  /** What the thread that has the store open has learned since. */
  readonly learn: (learned: Learned) => void
  readonly close: () => void | Promise<void>
}

/**
 * Connections of its own, for validates and streams of stops in a thread of their own. The store must be open already.
 * `onUnknown`: called for a server that the thread that has it open does not know.
 */
export function openDecisionReaderOf(source: ThreadSource, onUnknown: () => void): OpenDecisionReader {
  if (source.kind === 'sqlite') return { ...openSqlite(source.file), learn: () => {} }
  const { admit, learn } = followAdmission({
    label: labelOf(source.url),
    learned: source.learned,
    onUnknown,
  })
  return { ...openPostgres({ ...source, admit }), learn }
}
