import type { Migration } from './migrate.ts'
import { CORE } from './schema-core.ts'
import { DESK } from './schema-desk.ts'
import { ACCEPTED, IDENTITY } from './schema-identity.ts'
import { NEWS } from './schema-news.ts'
import { NODES } from './schema-nodes.ts'
import { STOPS } from './schema-stops.ts'

/** The control plane's schema, step by step. Steps that were published never change; new ones are added. */
export const CONTROL_PLANE_MIGRATIONS: readonly Migration[] = [
  { sql: CORE + IDENTITY + STOPS + DESK + NEWS + NODES },
  { sql: ACCEPTED },
]
