import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'

import { HoldpointError } from '../../errors.ts'
import { giveToDirectoryOwner } from '../sqlite/files.ts'
import type { Known } from './verdict.ts'

/** What a node has seen of the store. */
export interface Seen {
  /** Undefined when it was never here. */
  readonly known: Known | undefined
  /**
   * The last generation that it began; 0 when it began none. The next one is above it. Nobody knows whether it was
   * committed, so no database is held against it.
   */
  readonly begun: number
}

export const NOTHING_SEEN: Seen = { known: undefined, begun: 0 }

const Content = z.union([
  z.object({
    storeId: z.string(),
    generation: z.number().int(),
    place: z.object({ server: z.string(), relation: z.string(), timeline: z.number().int() }),
    change: z.object({ orgId: z.string(), seq: z.number().int(), hash: z.string() }).optional(),
    begun: z.number().int().default(0),
  }),
  z.strictObject({ begun: z.number().int() }),
])

/** Where a node keeps what it has seen of the store. */
export function seenFileIn(dataDir: string): string {
  return join(dataDir, 'store-seen.json')
}

/** What this node has seen of the store; nothing when there is no file. Throws `STORE_SEEN_UNREADABLE`. */
export function readSeen(file: string): Seen {
  if (!existsSync(file)) return NOTHING_SEEN
  try {
    const { begun, ...known } = Content.parse(JSON.parse(readFileSync(file, 'utf8')))
    return { known: 'storeId' in known ? known : undefined, begun }
  } catch (cause) {
    throw new HoldpointError(
      'STORE_SEEN_UNREADABLE',
      `${file}, where this node keeps what it has seen of the database, cannot be read. Delete it if the database is the right one.`,
      { cause },
    )
  }
}

/** A hint that may be some seconds old, so it need not outlive a power cut. Written by root, it belongs to the directory's owner. */
export function writeSeen(file: string, { known, begun }: Seen): void {
  const { storeId, generation, place, change } = known ?? {}
  const text = JSON.stringify({ storeId, generation, place, change, begun })
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return
  mkdirSync(dirname(file), { recursive: true })
  const draft = `${file}.new`
  rmSync(draft, { force: true })
  // Never through a link, which that owner could have put there.
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx' })
  giveToDirectoryOwner(draft)
  renameSync(draft, file)
}
