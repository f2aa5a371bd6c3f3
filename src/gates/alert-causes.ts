import type { Instant } from '../clock.ts'
import type { Decision } from '../guard/decision.ts'
import type { GuardEvent } from '../guard/events.ts'
import type { Guard } from '../guard/guard.ts'
import { localCode } from '../local-codes.ts'
import type { AlertStatus, Incident, Tally } from './alert.ts'

/** An outage that comes and goes is one: it is over once nothing of it was seen for so long. */
const OVER_AFTER_MS = 30_000
const MAX_DEDUPE_MS = 3_600_000
const MAX_CAUSES = 1000
const MAX_KEYS = 20

interface Cause extends Tally {
  last: Incident
  count: number
  lastWallMs: number
  lastAtMs: number
  readonly idempotencyKeys: Set<string>
  /** Since the last alert. */
  untold: number
  /** Nothing is told before. */
  quietUntilMs: number
  quietMs: number
}

/**
 * Turns what happens into alerts: each cause is told at once, then counted for `dedupeMs` and told again with the count
 * if it went on, each time after twice as long, up to an hour.
 */
export class AlertCauses {
  readonly #causes = new Map<string, Cause>()
  readonly #dedupeMs: number
  readonly #tell: (status: AlertStatus, tally: Tally) => void

  constructor(dedupeMs: number, tell: (status: AlertStatus, tally: Tally) => void) {
    this.#dedupeMs = dedupeMs
    this.#tell = tell
  }

  saw(guard: Guard, event: GuardEvent, now: Instant): void {
    const incident = incidentOf(guard, event)
    // A denial by the authority is an answer, too.
    if (event.kind === 'decision' && this.#causes.size > 0) this.#resolve(guard, event.decision, now)
    if (incident !== undefined) this.#count(incident, now)
  }

  /** Tells what was counted and is due. With `all`, what is not due either. */
  tellDue(now: Instant, { all = false } = {}): void {
    for (const cause of this.#causes.values()) {
      if (now.monotonicMs < cause.quietUntilMs && !all) continue
      if (cause.untold > 0) this.#fire(cause, now)
      // What no answer ends is forgotten, and is news when it comes again.
      else if (!isLasting(cause.last)) this.#causes.delete(cause.id)
    }
  }

  #count(incident: Incident, now: Instant): void {
    const id = causeId(incident)
    const cause = this.#causes.get(id) ?? this.#begin(id, incident, now)
    cause.last = incident
    cause.count += 1
    cause.untold += 1
    cause.lastWallMs = now.wallMs
    cause.lastAtMs = now.monotonicMs
    const { idempotencyKey: key } = incident
    if (key !== undefined && cause.idempotencyKeys.size < MAX_KEYS) cause.idempotencyKeys.add(key)
    if (now.monotonicMs >= cause.quietUntilMs) this.#fire(cause, now)
  }

  #begin(id: string, last: Incident, { wallMs, monotonicMs }: Instant): Cause {
    const [oldest] = this.#causes.keys()
    if (oldest !== undefined && this.#causes.size >= MAX_CAUSES) this.#causes.delete(oldest)
    const counted = { count: 0, untold: 0, idempotencyKeys: new Set<string>() }
    const times = { firstWallMs: wallMs, lastWallMs: wallMs, lastAtMs: monotonicMs }
    const cause = { id, last, ...counted, ...times, quietUntilMs: monotonicMs, quietMs: this.#dedupeMs }
    this.#causes.set(id, cause)
    return cause
  }

  #fire(cause: Cause, now: Instant): void {
    cause.untold = 0
    cause.quietUntilMs = now.monotonicMs + cause.quietMs
    cause.quietMs = Math.max(this.#dedupeMs, Math.min(cause.quietMs * 2, MAX_DEDUPE_MS))
    this.#tell('firing', cause)
  }

  #resolve({ serverDeviceId }: Guard, decision: Decision, now: Instant): void {
    for (const cause of this.#causes.values()) {
      if (cause.last.serverDeviceId !== serverDeviceId || !ends(decision, cause.last)) continue
      if (now.monotonicMs - cause.lastAtMs < OVER_AFTER_MS) continue
      this.#causes.delete(cause.id)
      this.#tell('resolved', cause)
    }
  }
}

/** Not what a person is woken for: the process ends, the caller gave up, an approval is waited for. */
const EXPECTED = new Set<string>(['GUARD_SHUTTING_DOWN', 'CALL_ABORTED', 'APPROVAL_REQUIRED'])

function incidentOf({ serverDeviceId }: Guard, event: GuardEvent): Incident | undefined {
  const { tool } = event.at
  if (event.kind === 'outcome_unknown') {
    const { surface, boundary } = event.at
    const { effect, idempotencyKey, requestId } = event
    const deviceId = surface.deviceIds.at(-1) ?? serverDeviceId
    const what = { kind: 'outcome_unknown', code: 'OUTCOME_UNKNOWN', effect, idempotencyKey } as const
    return { ...what, serverDeviceId, deviceId, boundary, requestId, tool }
  }
  const { allowed, code, deviceId, boundary, requestId } = event.decision
  if (allowed || EXPECTED.has(code)) return undefined
  const kind = isUnanswered(code) ? 'authority_unavailable' : 'denied'
  return { kind, serverDeviceId, deviceId, code, boundary, requestId, tool }
}

const isUnanswered = (code: string): boolean => code.startsWith('AUTHORITY_')

function causeId({ kind, deviceId, code, effect }: Incident): string {
  return [kind, deviceId, effect ?? code].join(' ')
}

/** Whether an answer of the authority ends it. What the guard denied by itself may come right after an allow. */
function isLasting({ kind, code }: Incident): boolean {
  return kind === 'authority_unavailable' || (kind === 'denied' && localCode(code) === undefined)
}

function ends({ allowed, code, deviceIds }: Decision, last: Incident): boolean {
  if (!isLasting(last)) return false
  if (last.kind === 'authority_unavailable') return allowed || localCode(code) === undefined
  return allowed && deviceIds.includes(last.deviceId)
}
