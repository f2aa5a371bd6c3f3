import type { HoldPoint } from '../../guard/guard.ts'
import type { Decision } from '../../guard/decision.ts'
import type { Work } from '../../guard/in-flight.ts'
import type { Host } from './host.ts'
import { keepLease } from './lease.ts'
import type { RunRecord } from './run-store.ts'
import type { OnStep, RunView } from './run-types.ts'
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
  #ending: Ending | undefined
  #atModel = false

  constructor(host: Host, runId: string) {
    this.runId = runId
    this.signal = this.#controller.signal
    this.steps = new StepLog({ runId, store: host.store, log: host.log, nowMs: host.nowMs })
    this.#done.promise.catch(() => undefined)
  }

  get ending(): Ending | undefined {
    return this.#ending
  }

  /** How it paused or ended. Rejects when it could not be saved. */
  get done(): Promise<RunView> {
    return this.#done.promise
  }

  /** The id of the decision that let a call of somebody else's tool run, or did not. */
  requestIdOf(callId: string): string | undefined {
    return this.#requestIds.get(callId)
  }

  end(why: Ending): void {
    if (this.#ending !== 'lost') this.#ending = why
    this.#controller.abort(new Error(ENDINGS[why]))
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
  const execution = new Execution(host, claim.run.runId)
  if (onStep !== undefined) execution.steps.listen(onStep)
  host.executions.add(execution)
  for (const tell of host.onBegin) tell(execution)
  const cancel = () => execution.end('cancelled')
  signal?.addEventListener('abort', cancel, { signal: execution.over.signal })
  if (signal?.aborted === true) cancel()
  if (claim.run.cancelRequested) cancel()
  const endLease = keepLease({
    store: host.store,
    token: claim.token,
    every: host.every,
    log: host.log,
    onCancel: cancel,
    onLost: () => execution.end('lost'),
  })
  const ended = body(execution)
  execution.settle(ended)
  try {
    return await ended
  } finally {
    endLease()
    execution.over.abort()
    await execution.steps.flush()
    host.executions.delete(execution)
  }
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
