import type { ApprovalProblem, ApprovalUse, Journal } from '../../guard/journal.ts'
import type { RefusalBody } from '../tool-answer.ts'

/**
 * `queued`: nothing has begun. `running`: a process is at it, or was when it died. `interrupted`: calls wait for a
 * person, or a shutdown came in between. `denied` and `failed` may be resumable; `completed` and `cancelled` never are.
 */
export const RUN_STATUSES = [
  'queued',
  'running',
  'interrupted',
  'completed',
  'denied',
  'failed',
  'cancelled',
] as const
/** Where a run stands. */
export type RunStatus = (typeof RUN_STATUSES)[number]

/** Why a run failed. */
export interface RunProblem {
  readonly code: string
  /** For the caller: no stack, no key. */
  readonly message: string
}

/** A run as it is stored. What a person or a model wrote is sealed. */
export interface RunRecord {
  readonly runId: string
  /** Who started it, as authenticated. */
  readonly caller: string
  readonly agent: string
  readonly status: RunStatus
  /** 0 when created, raised by each save; a sealed state is bound to the version it was saved as. */
  readonly version: number
  /** What to go on from, sealed: the SDK's state, or the input of a queued run. Absent from `list`. */
  readonly state: Uint8Array | undefined
  /** The final output, sealed. Absent from `list`. */
  readonly output: Uint8Array | undefined
  /** SHA-256 of agent and input: the same run id with another one is a conflict. */
  readonly requestDigest: string
  /** Of the context it was started with, keyed. Absent where the app makes the context itself. */
  readonly contextDigest: string | undefined
  /** Whether `resume` may go on from `state`. */
  readonly resumable: boolean
  /** With `denied`, and after a denied resume: why. */
  readonly denial: RefusalBody | undefined
  /** With `failed`: why. */
  readonly problem: RunProblem | undefined
  readonly cancelRequested: boolean
  /** A queued run begins no earlier, in wall-clock milliseconds of the store. */
  readonly startAtMs: number
  readonly createdAtMs: number
  readonly changedAtMs: number
}

/** A run that is to be stored. The digests tell a repeated request from another one under the same id. */
export interface NewRun {
  readonly runId: string
  readonly caller: string
  readonly agent: string
  readonly requestDigest: string
  readonly contextDigest?: string | undefined
  /** The input of a run that waits, sealed for version 0. Absent: it runs at once, claimed by whoever creates it. */
  readonly queued?: { readonly input: Uint8Array; readonly delayMs: number } | undefined
}

/** What became of a new run. */
export type Created =
  /** With a token when it was claimed at once. */
  | { readonly created: true; readonly run: RunRecord; readonly token: string | undefined }
  /** The id is taken; by this very request or by another. */
  | { readonly created: false; readonly run: RunRecord }

/** R1: of any number of claims one wins, until it is saved, released, or its lease has passed. */
export type Claimed =
  | { readonly claimed: true; readonly token: string; readonly run: RunRecord }
  | {
      readonly claimed: false
      /** `running`: another process is at it. `not_resumable`: it has ended, or has nothing to go on from. */
      readonly why: 'running' | 'not_resumable'
      readonly run: RunRecord
    }

/** What a claim holder stores when the run pauses or ends. */
export interface RunSave {
  readonly status: 'interrupted' | 'completed' | 'denied' | 'failed' | 'cancelled'
  /** Sealed for version + 1. Undefined: nothing to go on from. */
  readonly state: Uint8Array | undefined
  readonly output: Uint8Array | undefined
  readonly resumable: boolean
  readonly denial: RefusalBody | undefined
  readonly problem: RunProblem | undefined
  /** Made anew with the key that seals now. Undefined: it stays what it was. */
  readonly contextDigest?: string | undefined
  /** Every call that waits now. Those that wait already keep their record; waiting or approved ones that are not here end. */
  readonly approvals: readonly NewApproval[]
}

/** What an approval is bound to, beside its run. Another one of these: another approval. */
export interface ApprovalBinding {
  readonly callId: string
  readonly tool: string
  /** SHA-256 of the canonical JSON of the parsed, defaulted arguments. */
  readonly digest: string
  /** SHA-256 of the tool's name and parameters, as the model was told them. */
  readonly schemaDigest: string
  readonly surface: string
}

/** A call that begins to wait for a person. */
export interface NewApproval extends ApprovalBinding {
  readonly approvalId: string
  /** The arguments that will run, as JSON, sealed. */
  readonly arguments: Uint8Array
  readonly ttlMs: number
}

/** `expired` and `ended` (its call no longer waits) are final, as is `used`; an expiry is never taken back (a clock set back). */
export type ApprovalState = 'waiting' | 'approved' | 'declined' | 'used' | 'expired' | 'ended'

/** An approval as it is stored. `arguments` are sealed. */
export interface ApprovalRecord extends ApprovalBinding {
  readonly approvalId: string
  readonly runId: string
  readonly caller: string
  readonly agent: string
  readonly arguments: Uint8Array
  readonly state: ApprovalState
  /** With a decline: what the model is told. */
  readonly message: string | undefined
  readonly decidedBy: string | undefined
  readonly askedAtMs: number
  readonly expiresAtMs: number
}

/** What a person decided. `message`: with a decline, what the model is told. */
export interface ApprovalVerdict {
  readonly approvalId: string
  readonly approve: boolean
  readonly message?: string | undefined
}

/** One thing that happened in a run, for its timeline. Holds no arguments and no outputs. */
export interface StepRecord {
  readonly seq: number
  readonly atMs: number
  readonly type: string
  readonly detail: Readonly<Record<string, unknown>>
}

/** Who did what to a run, an approval or an effect. Stored in the same transaction as the change itself. */
export interface OperatorEntry {
  readonly seq: number
  readonly atMs: number
  readonly by: string
  readonly action:
    'approval.approve' | 'approval.decline' | 'run.cancel' | 'effect.settle' | 'effect.overrule'
  /** The approval, run or idempotency key. */
  readonly subject: string
  readonly runId: string | undefined
  readonly reason: string | undefined
}

/** For health checks: counted from indexes, no run is read. */
export interface RunCounts {
  readonly queued: number
  readonly running: number
  /** Paused, whatever they wait for. */
  readonly interrupted: number
  /** Calls that wait for a person. */
  readonly waitingApprovals: number
}

/** Which runs to list. */
export interface RunFilter {
  /** Runs of one caller. Undefined: of all. */
  readonly caller?: string | undefined
  readonly status?: RunStatus | undefined
  readonly agent?: string | undefined
  /** At most so many, newest first. */
  readonly limit: number
  /** Only runs created before this one, which must be of `caller` too: otherwise none. */
  readonly beforeRunId?: string | undefined
}

/**
 * Where runs, their approvals and timelines are stored. It shares its database with `journal`, so that an approval is
 * used up in the transaction of the intent. R2: a save, a release and a renewal by a claim that is no longer ours
 * change nothing. R3: a run whose lease has passed goes back to what it was before the claim when it has a state and has
 * not gone beyond it (`markBeyond`), and is `failed` with `RUN_LOST` otherwise; one that somebody has cancelled is
 * `cancelled`. R4: decisions on approvals are stored all or none. Times are the store's own.
 */
export interface RunStore {
  /** The journal in the same database. */
  readonly journal: Journal
  create(run: NewRun, leaseMs: number): Promise<Created>
  find(runId: string): Promise<RunRecord | undefined>
  /** The status alone, which costs far less than the run. */
  statusOf(runId: string): Promise<RunStatus | undefined>
  list(filter: RunFilter): Promise<readonly RunRecord[]>
  counts(): Promise<RunCounts>
  /** For `resume`: interrupted runs, and denied and failed ones that are resumable. Undefined for an unknown run. */
  claim(runId: string, leaseMs: number): Promise<Claimed | undefined>
  /** For the queue: the queued run that has waited longest of those whose time has come. */
  claimQueued(leaseMs: number): Promise<{ readonly token: string; readonly run: RunRecord } | undefined>
  /** From now on a queued run that is lost is not queued again: it may have done something. */
  markStarted(token: string): Promise<boolean>
  /**
   * Durable before it resolves: this claim does something that would be done again by a run that goes back to its saved
   * state. So it never goes back there (R3), until a save has made a new one. False when the claim is lost.
   */
  markBeyond(token: string): Promise<boolean>
  /** A sign of life. `cancel`: still ours, and somebody wants it to end. */
  renew(token: string, leaseMs: number): Promise<'ours' | 'cancel' | 'lost'>
  /** A run that was cancelled meanwhile and would wait is stored as `cancelled`. */
  save(token: string, save: RunSave): Promise<boolean>
  /**
   * Gives the claim back and leaves the run as it was, with why: a denied resume, a denied pick of a queued run. One
   * that has nothing to go back to, or has gone beyond it, or that somebody has cancelled, ends as R3 says.
   */
  release(
    token: string,
    why: { readonly denial?: RefusalBody; readonly retryInMs?: number },
  ): Promise<boolean>
  /** Ends a run that is not running at once, and asks the process of a running one to end it. False when it has ended. */
  cancel(runId: string, by: string, reason: string | undefined): Promise<'cancelled' | 'requested' | false>
  /** Applies R3 to every lost run. Gives their ids. */
  sweepLost(): Promise<readonly string[]>
  /** Every approval of a run, oldest first. */
  approvalsOf(runId: string): Promise<readonly ApprovalRecord[]>
  /** Approvals that wait, of all runs, the first to expire first. */
  waitingApprovals(limit: number): Promise<readonly ApprovalRecord[]>
  /** R4. Undefined when all were stored; otherwise the first that is not waiting, and nothing was stored. */
  decide(
    runId: string,
    verdicts: readonly ApprovalVerdict[],
    by: string,
  ): Promise<undefined | { readonly approvalId: string; readonly state: ApprovalState | 'missing' }>
  /** For a call without effects: uses the approval up before its body starts. Undefined when that was possible. */
  useApproval(use: ApprovalUse): Promise<ApprovalProblem | undefined>
  addSteps(runId: string, steps: readonly Omit<StepRecord, 'seq'>[]): Promise<void>
  stepsOf(runId: string): Promise<readonly StepRecord[]>
  /** Newest first. */
  operatorLog(filter: {
    readonly runId?: string | undefined
    readonly limit: number
  }): Promise<readonly OperatorEntry[]>
  close(): Promise<void>
}
