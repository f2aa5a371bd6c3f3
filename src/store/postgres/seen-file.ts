import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'

import { HoldpointError } from '../../errors.ts'
import type { Known } from './verdict.ts'

const Seen = z.object({
  storeId: z.string(),
  generation: z.number().int(),
  place: z.object({ server: z.string(), relation: z.string(), timeline: z.number().int() }),
  change: z.object({ orgId: z.string(), seq: z.number().int(), hash: z.string() }).optional(),
})

/** Where a node keeps what it has seen of the store. */
export function seenFileIn(dataDir: string): string {
  return join(dataDir, 'store-seen.json')
}

/** What this node has seen of the store; undefined when it was never here. Throws `STORE_SEEN_UNREADABLE`. */
export function readSeen(file: string): Known | undefined {
  if (!existsSync(file)) return undefined
  try {
    return Seen.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw new HoldpointError(
      'STORE_SEEN_UNREADABLE',
      `${file}, where this node keeps what it has seen of the database, cannot be read. Delete it if the database is the right one.`,
      { cause },
    )
  }
}

/** A hint that may be some seconds old, so it need not outlive a power cut. */
export function writeSeen(file: string, { storeId, generation, place, change }: Known): void {
  const text = JSON.stringify({ storeId, generation, place, change })
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
