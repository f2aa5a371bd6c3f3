import { HoldpointError } from '../errors.ts'
import { uuidv7 } from './ids.ts'
import type { AuditEntry, OrgRecord } from './records.ts'

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

/** An org of a backup that is opened: disabled, as by an operator, until one enables it. */
export function disabledByRestore(
  org: OrgRecord,
  { generation, nowMs, madeAtMs }: { generation: number; nowMs: number; madeAtMs: number },
): { readonly org: OrgRecord; readonly audit: AuditEntry } {
  const epoch = firstEpoch(generation) + 1
  const reason =
    `Restored from a backup of ${new Date(madeAtMs).toISOString()}: stops since then are not in it. ` +
    'Check devices, locks and keys, then enable the org.'
  return {
    org: { ...org, epoch, disabled: true, orgSwitch: { epoch, by: 'local', reason, atMs: nowMs } },
    audit: {
      id: uuidv7(nowMs),
      atMs: nowMs,
      actor: 'local',
      actorKind: 'local',
      requestId: null,
      origin: null,
      action: 'org.disable',
      deviceId: null,
      reason,
      before: { disabled: org.disabled, epoch: org.orgSwitch.epoch },
      after: { disabled: true, epoch, generation },
    },
  }
}
