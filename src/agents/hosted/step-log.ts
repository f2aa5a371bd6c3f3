import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { RunStore, StepRecord } from './run-store.ts'
import type { OnStep, RunStep } from './run-types.ts'
import type { WatchedStep } from './run-watcher.ts'

const BATCH_MS = 100

export interface StepLogOptions {
  readonly runId: string
  readonly store: RunStore
  readonly log: Logger
  readonly nowMs: () => number
  /** Told of steps once they are stored. */
  readonly onStored?: ((steps: readonly WatchedStep[]) => void) | undefined
}

/** The steps of one run on this replica: told to those who listen, and stored in batches without what they carry. */
export class StepLog {
  readonly #options: StepLogOptions
  readonly #listeners = new Set<OnStep>()
  readonly #seen = new Set<string>()
  #waiting: Omit<StepRecord, 'seq'>[] = []
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: StepLogOptions) {
    this.#options = options
  }

  listen(onStep: OnStep): () => void {
    this.#listeners.add(onStep)
    return () => void this.#listeners.delete(onStep)
  }

  /** A call is told of once, whether a tool of ours or the SDK was first to tell. */
  emit(step: RunStep): void {
    if (step.type === 'tool_called' || step.type === 'tool_output') {
      const seen = JSON.stringify([step.type, step.tool, step.call_id])
      if (this.#seen.has(seen)) return
      this.#seen.add(seen)
    }
    this.#tell(step)
    if (step.type === 'message') return
    const { type, ...detail } = withoutContent(step)
    this.#waiting.push({ atMs: this.#options.nowMs(), type, detail })
    this.#timer ??= setTimeout(() => void this.flush(), BATCH_MS).unref()
  }

  /** The SDK tells of an earlier part of the run once more when it goes on. */
  markSeen(type: 'tool_called', tool: string, callId: string): void {
    this.#seen.add(JSON.stringify([type, tool, callId]))
  }

  /** Stores what is not stored yet. A timeline that cannot be stored holds nothing up: it is no evidence. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const steps = this.#waiting
    this.#waiting = []
    if (steps.length === 0) return this.#writing
    const { store, runId, log, onStored } = this.#options
    return (this.#writing = this.#writing
      .then(() => store.addSteps(runId, steps))
      .then(() => onStored?.(steps.map((step) => ({ runId, ...step }))))
      .catch((cause: unknown) =>
        log.error({ run_id: runId, err: messageOf(cause) }, 'steps were not stored'),
      ))
  }

  #tell(step: RunStep): void {
    for (const onStep of this.#listeners) {
      try {
        onStep(step)
      } catch (cause) {
        this.#listeners.delete(onStep)
        const line = { run_id: this.#options.runId, err: messageOf(cause) }
        this.#options.log.warn(line, 'a listener of a run threw, and is told no more')
      }
    }
  }
}

function withoutContent(
  step: Exclude<RunStep, { type: 'message' }>,
): Record<string, unknown> & { type: string } {
  if (step.type === 'run_ended') return { type: step.type, status: step.run.status }
  const { type, ...detail } = step as { type: string; arguments?: unknown; output?: unknown }
  delete detail.arguments
  delete detail.output
  return { ...detail, type }
}
