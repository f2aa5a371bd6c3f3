import type { HoldPoint } from '../../guard/guard.ts'
import type { Decision } from '../../guard/decision.ts'
import type { Work } from '../../guard/in-flight.ts'
import type { Host } from './host.ts'
import { ABANDON_AFTER_MS, abandonRun } from './abandon-run.ts'
import { keepLease, type Lease } from './lease.ts'
import type { RefusalBody } from '../tool-answer.ts'
import type { RunRecord } from './run-store.ts'
import type { OnStep, RunView } from './run-types.ts'
import { tellOfRun, tellOfRunLater, tellWatcher } from './run-watcher.ts'
import { StepLog } from './step-log.ts'

/** A run that is ours until it is saved or released. */
export interface Claim {
  readonly run: RunRecord
  readonly token: string
}

/** Why a run is made to end: by somebody, by a shutdown, or because another process has it now. */
export type Ending = 'cancelled' | 'shutdown' | 'lost'

/** One run at work on this replica, from its claim to its save. */
export class Execution {
  readonly runId: string
  /** Of its claim. */
  readonly token: string
  readonly lease: Lease
  readonly steps: StepLog
  /** Aborts the run. */
  readonly signal: AbortSignal
  /** Calls that have reached a hold point here: they may have done something. */
  readonly heldCalls = new Set<string>()
  /** Aborted when it is over, whatever came of it. */
  readonly over = new AbortController()
  readonly #controller = new AbortController()
  readonly #done = Promise.withResolvers<RunView>()
  readonly #requestIds = new Map<string, string>()
  readonly #abandoned = Promise.withResolvers<undefined>()
  readonly #host: Host
  #ending: Ending | undefined
  #stoppedBy: RefusalBody | undefined
  #atModel = false
  /** What to store of its context, where that is its caller's. */
  contextDigest: string | undefined
  /** While it is being saved it is not abandoned any more. */
  isSaving = false

  constructor(host: Host, { run: { runId }, token }: Claim) {
    this.#host = host
    this.runId = runId
    this.token = token
    const { store, every, log, nowMs } = host
    this.lease = keepLease({
      store,
      token,
      every,
      log,
      nowMs,
      onCancel: () => this.end('cancelled'),
      onLost: () => this.end('lost'),
    })
    this.signal = this.#controller.signal
    this.steps = new StepLog({
      runId,
      store,
      log,
      nowMs,
      onStored: (steps) => tellWatcher(host, (watcher) => watcher.stepsStored(steps)),
    })
    this.#done.promise.catch(() => undefined)
  }

  get ending(): Ending | undefined {
    return this.#ending
  }

  /** How it paused or ended. Rejects when it could not be saved. */
  get done(): Promise<RunView> {
    return this.#done.promise
  }

  /** The pushed stop that ended it. */
  get stoppedBy(): RefusalBody | undefined {
    return this.#stoppedBy
  }

  /** The id of the decision that let a call of somebody else's tool run, or did not. */
  requestIdOf(callId: string): string | undefined {
    return this.#requestIds.get(callId)
  }

  end(why: Ending): void {
    // A shutdown does not make what somebody has cancelled go on later.
    const isSettled = this.#ending === 'lost' || (this.#ending === 'cancelled' && why === 'shutdown')
    if (!isSettled) this.#ending = why
    if (this.signal.aborted) return
    this.#controller.abort(new Error(ENDINGS[why]))
    this.#abandonLater()
  }

  /** A pushed stop has ended its session, which aborts the run: what heeds no signal has as long as with a cancel. */
  stopped(denial: RefusalBody): void {
    this.#stoppedBy = denial
    this.#abandonLater()
  }

  #abandonLater(): void {
    const stop = this.#host.every(ABANDON_AFTER_MS, () => this.abandon())
    this.over.signal.addEventListener('abort', stop)
  }

  /** It has had its time to end. */
  abandon(): void {
    if (!this.isSaving) this.#abandoned.resolve(undefined)
  }

  get abandoned(): Promise<undefined> {
    return this.#abandoned.promise
  }

  /**
   * A shutdown lets what is under way finish: the next model call is denied, and everything up to there is kept. Only
   * a model call has nothing to lose.
   */
  drain(): void {
    this.#ending ??= 'shutdown'
    if (this.#atModel) this.end('shutdown')
  }

  /** Whether the model is answering, and nothing else is going on. */
  atModel(isAnswering: boolean): void {
    this.#atModel = isAnswering
    if (isAnswering && this.#ending === 'shutdown') this.end('shutdown')
  }

  /** Tells of a hold point and of what came of it. */
  held(at: HoldPoint, verdict: Promise<Decision>): void {
    const { boundary, tool, callId } = at
    const named = {
      boundary,
      surface: at.surface.name,
      ...(tool === undefined ? {} : { tool }),
      ...(callId === undefined ? {} : { call_id: callId }),
    }
    if (callId !== undefined) this.heldCalls.add(callId)
    this.steps.emit({ type: 'held', ...named })
    void verdict.then((decision) => {
      if (callId !== undefined && boundary === 'tool') this.#requestIds.set(callId, decision.requestId)
      this.steps.emit({
        type: decision.allowed ? 'allowed' : 'denied',
        ...named,
        code: decision.code,
        request_id: decision.requestId,
        device_id: decision.deviceId,
        latency_ms: Math.round(decision.latencyMs * 1000) / 1000,
      })
    })
  }

  settle(ended: Promise<RunView>): void {
    ended.then(this.#done.resolve, this.#done.reject)
  }
}

const ENDINGS = {
  cancelled: 'The run was cancelled.',
  shutdown: 'The server is shutting down.',
  lost: 'The run is no longer ours.',
}

export interface ExecutionOptions {
  readonly signal?: AbortSignal | undefined
  readonly onStep?: OnStep | undefined
}

/** Holds a claim alive while `body` works, and whoever cares told. */
export async function withClaim(
  host: Host,
  claim: Claim,
  { signal, onStep }: ExecutionOptions,
  body: (execution: Execution) => Promise<RunView>,
): Promise<RunView> {
  const execution = new Execution(host, claim)
  if (onStep !== undefined) execution.steps.listen(onStep)
  host.executions.add(execution)
  for (const tell of host.onBegin) tell(execution)
  tellOfRun(host, claim.run)
  const cancel = () => execution.end('cancelled')
  signal?.addEventListener('abort', cancel, { signal: execution.over.signal })
  if (signal?.aborted === true) cancel()
  if (claim.run.cancelRequested) cancel()
  const ended = untilAbandoned(host, claim, execution, body(execution))
  execution.settle(ended)
  try {
    return await ended
  } finally {
    execution.lease.end()
    execution.over.abort()
    await execution.steps.flush()
    host.executions.delete(execution)
    tellOfRunLater(host, claim.run.runId)
  }
}

/** What comes of the body after it was abandoned counts no more. */
async function untilAbandoned(
  host: Host,
  claim: Claim,
  execution: Execution,
  body: Promise<RunView>,
): Promise<RunView> {
  const ended = await Promise.race([body, execution.abandoned])
  if (ended !== undefined) return ended
  body.catch(() => undefined)
  return abandonRun(host, claim, execution)
}

/** Tells the execution of the shutdown that reaches a tracked body. */
export function drainOn(host: Host, execution: Execution, { signal }: Work): void {
  onAbort(signal, execution, () => execution.drain())
  onAbort(host.guard.shutdownSignal, execution, () => execution.end('shutdown'))
}

function onAbort(signal: AbortSignal, { over }: Execution, body: () => void): void {
  if (signal.aborted) body()
  else signal.addEventListener('abort', body, { once: true, signal: over.signal })
}
