import { HoldpointError } from '../errors.ts'
import { auditEntry } from './audit-chain.ts'
import { uuidv7 } from './ids.ts'
import type { AuditEntry, KeyRecord, OrgRecord } from './records.ts'
import type { Change, ControlPlaneStore } from './store.ts'

// Every epoch is `generation × 2³² + counter`. A store that was opened from a backup counts on in a new generation:
// its epochs lie above all that the store had handed out when the backup was older than they are (G6).

/** With a higher one, epochs would be no safe integers. */
const MAX_GENERATION = 2 ** 21 - 1
/** Generations that the clock alone cannot use up, however wrong it is. */
const RESERVED = 10_000
const FLOOR_FROM_MS = Date.UTC(2026, 0, 1)
const FLOOR_STEP_MS = 10 * 60 * 1000

/** The first epoch of a generation: that of an org in which nothing was stopped yet. */
export function firstEpoch(generation: number): number {
  return generation * 2 ** 32
}

/**
 * The generation of a backup that is opened now. Above that in the file, above each that this place has seen, so that
 * a second restore of the same backup does not repeat it, and above what the clock gave an earlier restore elsewhere.
 */
export function nextGeneration({
  inFile,
  seen,
  nowMs,
}: {
  inFile: number
  seen: number
  nowMs: number
}): number {
  const floor = Math.floor((nowMs - FLOOR_FROM_MS) / FLOOR_STEP_MS)
  const next = Math.max(inFile, seen, Math.min(floor, MAX_GENERATION - RESERVED)) + 1
  if (next <= MAX_GENERATION) return next
  throw new HoldpointError(
    'STORE_GENERATION',
    `This store has used up its ${MAX_GENERATION} generations, so no backup can be opened. Create the org anew in a new DATA_DIR.`,
  )
}

export interface Restore {
  /** Of the store from now on. */
  readonly generation: number
  readonly nowMs: number
  /** What it was, for the audit: `Restored from …`. */
  readonly what: string
}

/**
 * What opening a backup makes of an org: disabled, until somebody has looked and enables it. `keys` are ended, since
 * the backup does not know which were burned after it was made: a burn is a stop (G6).
 */
export function restored(org: OrgRecord, keys: readonly KeyRecord[], restore: Restore): Change<undefined> {
  const { generation, nowMs, what } = restore
  const epoch = firstEpoch(generation) + 1
  const reason = `${what}: stops since then are not in it. Check devices, locks and keys, then enable the org.`
  const audit = [
    entry('org.disable', nowMs, {
      reason,
      before: { disabled: org.disabled, epoch: org.orgSwitch.epoch },
      after: { disabled: true, epoch, generation },
    }),
  ]
  if (keys.length > 0) {
    audit.push(
      entry('key.burn', nowMs, {
        reason: `${what}: keys burned since then must not work again.`,
        after: { keyIds: keys.map(({ keyId }) => keyId), epoch },
      }),
    )
  }
  return {
    org: { ...org, epoch, disabled: true, orgSwitch: { epoch, by: 'local', reason, atMs: nowMs } },
    keys: keys.map((key) => ({ ...key, endedAtMs: nowMs, endedAs: 'burned' })),
    audit,
    result: undefined,
  }
}

/** Whether a restore has ended the key, and not somebody who burned it. */
export async function endedByRestore(
  store: Pick<ControlPlaneStore, 'findAudit'>,
  { orgId, keyId, endedAtMs }: KeyRecord,
): Promise<boolean> {
  if (endedAtMs === null) return false
  const row = await store.findAudit(orgId, { actions: ['key.burn'], untilMs: endedAtMs })
  // Only a restore ends several in one row.
  const { keyIds } = (row?.after ?? {}) as { readonly keyIds?: readonly string[] }
  return keyIds?.includes(keyId) === true
}

function entry(action: string, atMs: number, details: Partial<AuditEntry>): AuditEntry {
  return auditEntry({ id: uuidv7(atMs), atMs, actor: 'local', actorKind: 'local', action, ...details })
}
