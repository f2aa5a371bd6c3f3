import { AsyncLocalStorage } from 'node:async_hooks'
import type { Agent, AgentOutputType } from '@openai/agents'
import type { Allowed, Denied } from '../guard/decision.ts'
import type { Checked } from '../guard/guard.ts'
import type { ApprovalUse, RunFence } from '../guard/journal.ts'
import type { Started } from '../guard/permit.ts'
import type { Surface } from '../guard/surface.ts'
import { refusalOf } from '../guard/refusal.ts'
import { GuardDeniedError } from './guard-denied.ts'
import type { ApprovalBinding } from './hosted/run-store.ts'
import type { RunStep } from './hosted/run-types.ts'
import { refusalBody } from './model-text.ts'
import type { RefusalBody } from './tool-answer.ts'

/** Any agent, whatever its context and output: only its identity and its tools matter here. */
export type AnyAgent = Agent<unknown, AgentOutputType>

/**
 * What would come of a call that is made again under another id. `harmless`: it only reads. `recognised`: its effects
 * have business keys. `repeated`: the same thing would happen twice.
 */
export type Again = 'harmless' | 'recognised' | 'repeated'

/** What a hosted run adds to its session. */
export interface HostedRun {
  /** Under which its effects begin. */
  readonly fence: RunFence
  /** Before each model call. False when the run must end: its signal is aborted then. */
  isOurs(): Promise<boolean>
  /** Before each call of a tool. False when nothing may start any more. */
  mayStart(call: { readonly callId: string | undefined; readonly again: Again }): Promise<boolean>
  /**
   * The stored approval of exactly this call, to be used up by its first intent, or why there is none. The SDK's own
   * record of approvals does not count in a hosted run.
   */
  approvalFor(call: ApprovalBinding): Promise<ApprovalUse | 'APPROVAL_REQUIRED' | 'APPROVAL_EXPIRED'>
  /** Whether a person was asked about a call of this id, whatever came of it. */
  wasAsked(callId: string): boolean
  /** Uses it up for a call without effects; false when somebody did so before. */
  useApproval(use: ApprovalUse): Promise<boolean>
  step(step: RunStep): void
  /** Told of each agent that is about to run. Throws when one of its tools would go past the guard. */
  admit(agent: AnyAgent): void
  /** Told when a pushed stop has ended the run. */
  stopped(denial: RefusalBody): void
}

export interface SessionOptions {
  readonly runId: string
  /** What each model call asks for. */
  readonly surface: Surface
  readonly caller: string | undefined
  /** Aborted when the caller gives up or the guard shuts down. */
  readonly signal: AbortSignal
  /** Present in hosted runs. */
  readonly hosted?: HostedRun | undefined
}

/** An allow, and the permit that starts one model request on it. */
export type Permitted = Extract<Checked, { allowed: true }>

/** One `runAgent` or `resumeAgent`: what reaches every agent of the run, nested ones included. */
export class Session {
  readonly runId: string
  readonly caller: string | undefined
  /** The agents of this run that were seen so far. */
  readonly agents = new Set<AnyAgent>()
  /** The denial that ends the run; a later one changes nothing. */
  denial: GuardDeniedError | undefined
  /** The denial that must reject it. */
  aborted: GuardDeniedError | undefined
  /** Aborts the run, agents that are tools of others included: those swallow what their own tools throw. */
  readonly signal: AbortSignal
  readonly hosted: HostedRun | undefined
  readonly #surface: Surface
  readonly #controller = new AbortController()
  #watched: { readonly epoch: number; readonly end: () => void } | undefined
  #isOver = false
  #isStopped = false

  constructor({ runId, surface, caller, signal, hosted }: SessionOptions) {
    this.runId = runId
    this.caller = caller
    this.hosted = hosted
    this.#surface = surface
    this.signal = AbortSignal.any([signal, this.#controller.signal])
  }

  stop(denial: GuardDeniedError): void {
    this.denial ??= denial
  }

  abort(denial: GuardDeniedError): void {
    this.denial ??= denial
    // What a pushed stop has ended is denied, and no tool that it stops too makes it reject.
    if (!this.#isStopped) this.aborted ??= denial
    this.#controller.abort(denial)
  }

  /** True when a pushed stop ended it. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /**
   * The run goes on under this allow: a pushed stop that hits what it allowed ends the run at once (DESIGN 8). It takes
   * the place of an earlier allow, so that a stop from before a restore does nothing.
   */
  goOnUnder(decision: Allowed): void {
    const { epoch = 0 } = decision
    if (this.#isOver || epoch < (this.#watched?.epoch ?? 0)) return
    this.#watched?.end()
    const end = this.#surface.guard.watch(decision, () => this.#stopPushed(decision))
    this.#watched = { epoch, end }
  }

  /** It has paused or ended: no stop concerns it any more. */
  end(): void {
    this.#isOver = true
    this.#watched?.end()
  }

  /** The `task` boundary: before each model call, since it costs money. Throws when the run must end. */
  async beforeModelCall(): Promise<Permitted> {
    if (this.denial !== undefined) throw this.denial
    if ((await this.hosted?.isOurs()) === false) throw this.signal.reason
    const { guard } = this.#surface
    const at = { surface: this.#surface, boundary: 'task', runId: this.runId, signal: this.signal } as const
    const checked = await guard.check(at)
    // Who gave up is told so, not that permission was refused.
    this.signal.throwIfAborted()
    if (checked.allowed) return checked
    throw this.#refused(checked.decision)
  }

  /**
   * Starts a model request in the tick of its permit. Where it has none, or one that is no longer good, it is asked for
   * anew (G2, G3). Throws when the run must end.
   */
  async startModelCall<T>(asked: Permitted | undefined, request: () => T): Promise<Awaited<T>> {
    if (this.denial !== undefined) throw this.denial
    this.signal.throwIfAborted()
    // One that has aged is no denial: nothing was refused yet.
    const started = asked?.permit.isGood === true ? this.#start(asked, request) : undefined
    if (started?.started === true) return await started.value
    const anew = this.#start(await this.beforeModelCall(), request)
    if (anew.started) return await anew.value
    this.signal.throwIfAborted()
    throw this.#refused(anew.denied)
  }

  #start<T>({ permit, decision }: Permitted, request: () => T): Started<T> {
    return permit.start(() => {
      this.goOnUnder(decision)
      return request()
    })
  }

  #refused(denied: Denied): GuardDeniedError {
    const denial = denialOf(denied)
    this.stop(denial)
    return denial
  }

  #stopPushed({ boundary }: Allowed): void {
    // Whoever gave up before is told so.
    if (this.#isOver || this.signal.aborted) return
    this.#isStopped = true
    const at = { surface: this.#surface, boundary, runId: this.runId } as const
    const denial = denialOf(this.#surface.guard.denyNow(at, 'STOP_PUSHED'))
    this.stop(denial)
    this.hosted?.stopped(denial.body)
    this.#controller.abort(denial)
  }
}

function denialOf(denied: Denied): GuardDeniedError {
  return new GuardDeniedError(refusalBody(refusalOf(denied), { onDenied: 'stop' }))
}

const sessions = new AsyncLocalStorage<Session>()

export function currentSession(): Session | undefined {
  return sessions.getStore()
}

export function inSession<T>(session: Session, body: () => T): T {
  return sessions.run(session, body)
}
