import type { Clock } from '../clock.ts'
import type { Answer, Authority } from './authority.ts'
import type { DenialCode } from './decision.ts'
import { failClosed, unanswered } from './fail-closed.ts'
import type { HoldPoint } from './guard.ts'
import { assertAnswer } from './judge.ts'
import { Latencies } from './latencies.ts'
import type { Presence } from './stop-stream.ts'

export interface LastAnswer {
  readonly answered: boolean
  /** Why there was none. */
  readonly code: DenialCode | undefined
  /** ISO 8601. */
  readonly at: string
}

export interface QuestionsOptions {
  readonly authority: Authority
  readonly timeoutMs: number
  readonly maxPending: number
  readonly clock: Clock
}

/** Asks the authority, and keeps what operators want to know of its answers. */
export class Questions {
  readonly #options: QuestionsOptions
  readonly #latencies = new Latencies()
  #pending = 0
  #last: { readonly answer: Answer; readonly atMs: number } | undefined

  constructor(options: QuestionsOptions) {
    this.#options = options
  }

  /** Undefined before the first. */
  get last(): LastAnswer | undefined {
    if (this.#last === undefined) return undefined
    const { answer, atMs } = this.#last
    const code = answer.answered ? undefined : answer.code
    return { answered: answer.answered, code, at: new Date(atMs).toISOString() }
  }

  get latencyMs(): Presence['latencyMs'] {
    return this.#latencies.percentiles
  }

  /** Never rejects (G4). */
  async ask(at: HoldPoint): Promise<Answer> {
    const { authority, timeoutMs, maxPending, clock } = this.#options
    if (this.#pending >= maxPending) return unanswered('GUARD_OVERLOADED', undefined)
    const startMs = clock.now().monotonicMs
    this.#pending += 1
    const answer = await failClosed<Answer>(async () =>
      assertAnswer(
        await authority.ask({
          deviceIds: at.surface.deviceIds,
          boundary: at.boundary,
          tool: at.tool,
          callId: at.callId,
          runId: at.runId,
          timeoutMs,
          signal: at.signal,
        }),
      ),
    )
    this.#pending -= 1
    const { monotonicMs, wallMs } = clock.now()
    // One that its caller broke off says nothing about the authority.
    if (answer.answered || answer.code !== 'CALL_ABORTED') this.#last = { answer, atMs: wallMs }
    if (answer.answered) this.#latencies.add(monotonicMs - startMs)
    return answer
  }
}
