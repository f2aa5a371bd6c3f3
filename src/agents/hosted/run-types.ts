import type { AgentInputItem } from '@openai/agents'
import { HoldpointError } from '../../errors.ts'
import type { EffectState } from '../../guard/journal.ts'
import type { RefusalBody } from '../tool-answer.ts'
import type { ApprovalState, OperatorEntry, RunCounts, RunProblem, RunStatus } from './run-store.ts'

/** How far ahead a run may be put, in milliseconds: 30 days. */
export const MAX_DELAY_MS = 30 * 24 * 60 * 60 * 1000
/** It stands in paths, where a client would resolve dots away. */
export const RUN_ID = /^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$/
export const LIST_DEFAULT = 50
export const LIST_MOST = 200

/** Who asks, as authenticated. Sees and resumes its own runs; with `mayApprove` all of them. */
export interface RunCaller {
  readonly id: string
  readonly mayApprove: boolean
}

/** A run that is to begin. */
export interface StartRun {
  /** The name of a hosted agent. */
  readonly agent: string
  readonly input: string | AgentInputItem[]
  /** The app's own context. It is never stored: a run that waits takes none. */
  readonly context?: unknown
  /** Chosen by the caller: the same id with the same agent and input gives the run that is there. Default: a new one. */
  readonly runId?: string | undefined
  /** Answer at once, and begin when there is room. Default false. */
  readonly background?: boolean | undefined
  /** Begin no earlier than this, in milliseconds from now. Implies `background`. */
  readonly delayMs?: number | undefined
  /** Ends the run as `cancelled`. */
  readonly signal?: AbortSignal | undefined
  readonly onStep?: OnStep | undefined
}

/** A run that is to go on. */
export interface ResumeRun {
  readonly runId: string
  /** None is stored. Without a context function of the hosted agent it must be the one that the run was started with. */
  readonly context?: unknown
  readonly signal?: AbortSignal | undefined
  readonly onStep?: OnStep | undefined
}

/** What a person decided about one waiting call, by the digest of the arguments that were shown. */
export interface RunDecision {
  readonly callId: string
  readonly digest: string
  readonly approve: boolean
  readonly message?: string | undefined
}

/** A call that waits, or has waited, as it is shown. */
export interface ApprovalView {
  readonly callId: string
  readonly tool: string
  /** The arguments that will run, parsed and with their defaults. */
  readonly arguments: unknown
  readonly digest: string
  readonly surface: string
  readonly state: ApprovalState
  /** ISO 8601. */
  readonly expiresAt: string
  readonly decidedBy?: string
}

/** A call that waits, of any run. */
export interface WaitingApproval extends ApprovalView {
  readonly runId: string
  readonly agent: string
  /** Who started the run. */
  readonly caller: string
}

/** An effect, as its caller and approvers see it. */
export interface EffectView {
  /** The idempotency key, which names the effect in every call about it. */
  readonly id: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  readonly state: EffectState
  readonly callId: string
  readonly runId?: string
  readonly changedAt: string
}

/** A run as its caller sees it: what `POST /runs` answers. */
export interface RunView {
  readonly runId: string
  readonly agent: string
  /** Who started it. */
  readonly caller: string
  readonly status: RunStatus
  /** With `completed`. */
  readonly output?: unknown
  /** Those that wait now. */
  readonly approvals: readonly ApprovalView[]
  /** Whether `resume` can go on from here. */
  readonly resumable: boolean
  /** With `denied`, and after a denied resume. */
  readonly denial?: RefusalBody
  /** With `failed`. */
  readonly error?: RunProblem
  /** True when it is running and somebody has cancelled it. */
  readonly cancelling?: true
  /** ISO 8601. */
  readonly createdAt: string
  readonly changedAt: string
  /** With `queued`: begins no earlier. */
  readonly startsAt?: string
}

/** One run with its whole past. */
export interface RunDetail extends RunView {
  readonly effects: readonly EffectView[]
  /** Every approval it ever asked for. */
  readonly allApprovals: readonly ApprovalView[]
  readonly steps: readonly TimelineStep[]
  readonly operatorLog: readonly OperatorEntry[]
}

/** What happens in a run, as it happens. Field names as in denials and logs. */
export type RunStep =
  | { readonly type: 'run_started' | 'run_resumed'; readonly runId: string }
  /** The model asked for a call. Only live steps carry arguments. */
  | {
      readonly type: 'tool_called'
      readonly call_id: string
      readonly tool: string
      readonly arguments?: unknown
    }
  /** A hold point was entered. */
  | {
      readonly type: 'held'
      readonly boundary: string
      readonly surface: string
      readonly tool?: string
      readonly call_id?: string
    }
  | {
      readonly type: 'allowed' | 'denied'
      readonly boundary: string
      readonly surface: string
      readonly code: string
      readonly request_id: string
      readonly device_id: string
      readonly latency_ms: number
      readonly tool?: string
      readonly call_id?: string
    }
  /** A call was answered. Only live steps carry the output. */
  | {
      readonly type: 'tool_output'
      readonly call_id: string
      readonly tool: string
      readonly request_id?: string
      /** Why, when the call was refused or failed. */
      readonly code?: string
      readonly output?: string
    }
  | {
      readonly type: 'approval_asked'
      readonly call_id: string
      readonly tool: string
      readonly digest: string
      readonly expires_at: string
      readonly arguments?: unknown
    }
  /** Text of the model. Live only. */
  | { readonly type: 'message'; readonly text: string }
  /** The last one: the run has paused or ended. */
  | { readonly type: 'run_ended'; readonly run: RunView }

/** Told of each step of a run, in order. */
export type OnStep = (step: RunStep) => void

/** A step of the past: without arguments, outputs and messages. */
export interface TimelineStep {
  readonly at: string
  readonly type: string
  readonly [field: string]: unknown
}

export const RUN_REFUSALS = [
  'RUN_NOT_FOUND',
  'RUN_ID_TAKEN',
  'RUN_BUSY',
  'RUN_NOT_RESUMABLE',
  'RUN_ENDED',
  'APPROVER_REQUIRED',
  'AGENT_NOT_FOUND',
  'BAD_INPUT',
  'CONTEXT_NOT_KEPT',
  'CONTEXT_CHANGED',
  'CONTEXT_FAILED',
  'RESUME_DENIED',
  'RUN_STATE_REFUSED',
  'RUN_STATE_VERSION',
  'APPROVAL_UNKNOWN',
  'APPROVAL_MISMATCH',
  'APPROVAL_EXPIRED',
  'APPROVAL_DECIDED',
  'EFFECT_NOT_FOUND',
  'EFFECT_NOT_UNKNOWN',
  'RECONCILE_IMPOSSIBLE',
  'RUNS_OVERLOADED',
  'RUNS_CLOSING',
] as const
/** Why a call about a run was refused. */
export type RunRefusalCode = (typeof RUN_REFUSALS)[number]

/** Why something about a run was not done. The run is as it was. */
export class RunRefused extends HoldpointError {
  override readonly name = 'RunRefused'
  declare readonly code: RunRefusalCode
  /** With `RESUME_DENIED`. */
  readonly denial: RefusalBody | undefined

  constructor(code: RunRefusalCode, message: string, options: ErrorOptions & { denial?: RefusalBody } = {}) {
    super(code, message, options)
    this.denial = options.denial
  }
}

/** Which runs to list: the newest first, `beforeRunId` for the next page. */
export interface RunListFilter {
  readonly status?: RunStatus | undefined
  readonly agent?: string | undefined
  /** 1 to 200. Default 50. */
  readonly limit?: number | undefined
  readonly beforeRunId?: string | undefined
}

/** The hosted runs of a tool server. Every method throws `RunRefused`, and whatever the store throws. */
export interface Runs {
  /** Resolves when the run has paused or ended; a `background` run when it is stored. */
  start(who: RunCaller, request: StartRun): Promise<RunView>
  /** DESIGN's resume order. Denied: `RESUME_DENIED`, and the run is as it was. Two at once: one gets `RUN_BUSY`. */
  resume(who: RunCaller, request: ResumeRun): Promise<RunView>
  /** All of them or none. */
  decide(who: RunCaller, runId: string, decisions: readonly RunDecision[]): Promise<RunView>
  /** `running` with `cancelling` while it has not ended: 30 s later it is abandoned, whatever its tools do. */
  cancel(who: RunCaller, runId: string, reason?: string): Promise<RunView>
  show(who: RunCaller, runId: string): Promise<RunDetail>
  list(who: RunCaller, filter: RunListFilter): Promise<readonly RunView[]>
  /** For health checks. */
  counts(): Promise<RunCounts>
  /** Calls that wait, of all runs, the first to expire first. */
  waiting(who: RunCaller, limit: number): Promise<readonly WaitingApproval[]>
  /** Steps from now on, of a run on this replica; resolves with the run when it pauses or ends, or `signal` aborts. */
  follow(who: RunCaller, runId: string, onStep: OnStep, signal: AbortSignal): Promise<RunView>
  /** Unknown outcomes, of runs and of single calls, oldest first. */
  unknownEffects(who: RunCaller): Promise<readonly EffectView[]>
  /** An operator's word, with an audit entry. `done` may bring the result as the effect would have given it. */
  settleEffect(
    who: RunCaller,
    effectId: string,
    word: { readonly outcome: 'done' | 'failed'; readonly result?: unknown; readonly reason: string },
  ): Promise<EffectView>
  /** Asks the effect's own `reconcile` now. Its answer is settled with an audit entry; `unknown` changes nothing. */
  reconcileEffect(who: RunCaller, effectId: string): Promise<EffectView>
  /** Begins to pick queued runs and to look for lost ones. */
  begin(): void
  /**
   * Picks nothing more, and resolves when the runs of this process have paused or ended. Close the guard first. A run
   * that has not ended after `graceMs` (default 30,000) is abandoned: it goes back (R3), and its effects no longer begin.
   */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}
