import type { RunRecord, RunSave, RunStatus } from '../agents/hosted/run-store.ts'

/** A row of `runs`, as both databases give it. */
export interface RunRow {
  readonly run_id: string
  readonly caller: string
  readonly agent: string
  readonly status: RunStatus
  readonly version: number
  readonly request_digest: string
  readonly resumable: number
  readonly denial: string | null
  readonly problem: string | null
  readonly cancel_requested: number
  readonly start_at_ms: number
  readonly created_at_ms: number
  readonly changed_at_ms: number
  readonly lease_until_ms: number | null
  readonly status_before: RunStatus | null
  readonly beyond_saved: number
  readonly context_digest: string | null
  /** Only when read whole. */
  readonly state?: Uint8Array | null
  readonly output?: Uint8Array | null
}

export const RUN_COLUMNS = `runs.run_id, caller, agent, status, version, request_digest, resumable, denial, problem,
  cancel_requested, start_at_ms, created_at_ms, changed_at_ms, lease_until_ms, status_before, beyond_saved,
  context_digest`

export function recordOf(row: RunRow): RunRecord {
  return {
    runId: row.run_id,
    caller: row.caller,
    agent: row.agent,
    status: row.status,
    version: row.version,
    state: row.state ?? undefined,
    output: row.output ?? undefined,
    requestDigest: row.request_digest,
    contextDigest: row.context_digest ?? undefined,
    resumable: row.resumable === 1,
    denial: jsonOf<RunRecord['denial']>(row.denial),
    problem: jsonOf<RunRecord['problem']>(row.problem),
    cancelRequested: row.cancel_requested === 1,
    startAtMs: row.start_at_ms,
    createdAtMs: row.created_at_ms,
    changedAtMs: row.changed_at_ms,
  }
}

function jsonOf<T>(text: string | null): T | undefined {
  return text === null ? undefined : (JSON.parse(text) as T)
}

export function jsonText(value: object | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value)
}

export function isResumable({ status, resumable }: RunRow): boolean {
  return status === 'interrupted' || ((status === 'denied' || status === 'failed') && resumable === 1)
}

export function hasEnded(row: RunRow): boolean {
  return row.status !== 'running' && row.status !== 'queued' && !isResumable(row)
}

/** What is saved of a run that somebody cancelled meanwhile: it may have ended by itself, but nobody goes on with it. */
export function endOf(save: RunSave): RunSave {
  if (save.status !== 'interrupted' && !save.resumable) return save
  return {
    ...save,
    status: 'cancelled',
    state: undefined,
    resumable: false,
    denial: undefined,
    problem: undefined,
    approvals: [],
  }
}

const LOST: RunRecord['problem'] = {
  code: 'RUN_LOST',
  message:
    'The process that ran it ended before anything was saved. What it may have done is listed with the run; start a new run to go on.',
}

const LOST_BEYOND: RunRecord['problem'] = {
  code: 'RUN_LOST',
  message:
    'The process that ran it ended after it had gone on with calls that would be carried out again if it went back to its ' +
    'last saved state. What it may have done is listed with the run; start a new run to go on.',
}

/** R3: how a claim ends that nothing was saved under. `back`: as it was before the claim. */
export function endOfClaim(
  row: RunRow,
  hasState: boolean,
): 'back' | { readonly status: 'cancelled' | 'failed'; readonly problem: RunRecord['problem'] } {
  // Who cancelled it was told that it would end.
  if (row.cancel_requested === 1) return { status: 'cancelled', problem: undefined }
  if (row.status_before === null || !hasState) return { status: 'failed', problem: LOST }
  return row.beyond_saved === 1 ? { status: 'failed', problem: LOST_BEYOND } : 'back'
}
