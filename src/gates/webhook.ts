import type { ServerResponse } from 'node:http'
import { GuardMisconfiguredError, HoldpointError, messageOf } from '../errors.ts'
import { localRequestId } from '../guard/decision.ts'
import { BadBodyError } from '../http.ts'
import type { Logger } from '../log.ts'
import { declaredEffects, type DeclaredIn, type EffectsOrNone } from './effects.ts'
import { assertCount, assertName } from './options.ts'
import { spotOf, type Place } from './place.ts'
import { runUnit, type UnitWork } from './unit.ts'
import { problemAnswer, refusalAnswer, sendAnswer, type WebhookAnswer } from './webhook-answer.ts'
import { readDelivery, type IncomingDelivery, type WebhookRequest } from './webhook-body.ts'

/** What `webhookGate` takes, beside its place. */
export interface WebhookGateOptions<Event extends object, Effects extends EffectsOrNone, Result> {
  /** For the log and the evidence, as `tool`. */
  readonly name: string
  /** What `handle` may do to the world, `{ fulfil: defineEffect(…) }`, or that it does nothing: `'none'`. */
  readonly effects: Effects
  /** The event, if the sender's signature over the raw body is right. Throw if it is not: 400, and nothing is asked. */
  readonly verify: (request: WebhookRequest) => Event | Promise<Event>
  /** The same each time an event is delivered: 1 to 256 characters. With several senders, name the sender in it. */
  readonly eventId: (event: Event, request: WebhookRequest) => string | readonly string[] | undefined
  /** Starts only on a fresh allow. What it throws is answered 500 without detail, so that the sender delivers it again. */
  readonly handle: (event: Event, work: UnitWork<DeclaredIn<Effects>>) => Result | Promise<Result>
  /** The JSON body of the answer 200. Default: `{"received":true}`, whatever `handle` gave. */
  readonly reply?: (result: Result) => unknown
  /** The largest body it takes, in bytes, whoever has read it. Default 1 MiB. */
  readonly maxBodyBytes?: number
  /** When a sender is asked to deliver again what could not be settled now, in seconds. Default 60. */
  readonly retryAfterSeconds?: number
}

/** A route of Express 5, mounted before any body parser or behind `express.raw`; also of plain node:http. Never rejects. */
export type WebhookHandler = (request: IncomingDelivery, response: ServerResponse) => Promise<void>

/**
 * Receives webhooks: checks the signature, then asks at `task`, and only then handles the event. Answers JSON: 200 done,
 * 400 not verified or without an id, 413 too large, 403 denied, 503 permission could not be asked or work interrupted,
 * 409 outcome unknown or another delivery is at it, 500 failed. A delivery is a message: a sender that hangs up changes
 * nothing. Throws `GUARD_MISCONFIGURED`.
 */
export function webhookGate<Event extends object, const Effects extends EffectsOrNone, Result>(
  place: Place<Event>,
  options: WebhookGateOptions<Event, Effects, Result>,
): WebhookHandler {
  const { name, verify, eventId, handle, reply, maxBodyBytes = 1024 * 1024, retryAfterSeconds = 60 } = options
  const spot = spotOf(place)
  const { log } = spot.guard
  checkOptions(options)
  const effects = declaredEffects(spot.guard, options.effects, `webhookGate "${name}"`)

  async function received(delivery: IncomingDelivery): Promise<WebhookAnswer> {
    const { event, unitId } = await verified(delivery)
    const outcome = await runUnit({
      spot,
      name,
      unit: event,
      unitId,
      effects,
      body: (work) => handle(event, work),
    })
    if (outcome.state !== 'done') return refusalAnswer(outcome)
    return { statusCode: 200, body: replyTo(outcome.value) }
  }

  async function verified(delivery: IncomingDelivery): Promise<{ event: Event; unitId: string }> {
    const request = await readDelivery(delivery, maxBodyBytes)
    const event = await attempt(() => verify(request), NOT_VERIFIED)
    // A verifier that answers false, or nothing, has verified nothing.
    if (typeof event !== 'object' || event === null) throw unusable(NOT_VERIFIED, 'verify gave no event')
    const unitId = await attempt(() => eventId(event, request), NO_EVENT_ID)
    if (typeof unitId === 'string' && EVENT_ID.test(unitId)) return { event, unitId }
    throw unusable(NO_EVENT_ID, 'eventId gave none')
  }

  /** It was done, so an answer that cannot be made must not look like a failure. */
  function replyTo(result: Result): unknown {
    const received = { received: true }
    if (reply === undefined) return received
    try {
      const body = reply(result)
      return JSON.stringify(body) === undefined ? received : body
    } catch (error) {
      log.error({ tool: name, err: messageOf(error) }, 'the reply to a webhook cannot be made')
      return received
    }
  }

  return async (request, response) => {
    const answer = await received(request).catch((error: unknown) => problemOf(error, name, log))
    sendAnswer(response, answer, retryAfterSeconds)
  }
}

const EVENT_ID = /^\P{C}{1,256}$/u

const NOT_VERIFIED = {
  code: 'WEBHOOK_NOT_VERIFIED',
  message: 'The signature of this delivery could not be verified. Send it with the secret of this endpoint.',
}
const NO_EVENT_ID = {
  code: 'WEBHOOK_EVENT_ID_MISSING',
  message: 'This event has no id to know it by when it comes again: 1 to 256 printable characters.',
}

/** A delivery that nothing is asked for. */
class UnusableDelivery extends HoldpointError {
  readonly statusCode = 400
}

async function attempt<T>(what: () => T | Promise<T>, problem: typeof NOT_VERIFIED): Promise<T> {
  try {
    return await what()
  } catch (cause) {
    throw unusable(problem, cause)
  }
}

function unusable({ code, message }: typeof NOT_VERIFIED, cause: unknown): UnusableDelivery {
  return new UnusableDelivery(code, message, { cause })
}

const MAX_REASON_CHARS = 300

function problemOf(error: unknown, name: string, log: Logger): WebhookAnswer {
  const requestId = localRequestId()
  const line = { tool: name, request_id: requestId }
  const reason = (thrown: unknown) => messageOf(thrown).slice(0, MAX_REASON_CHARS)
  if (error instanceof UnusableDelivery || error instanceof BadBodyError) {
    const { statusCode, code, message, cause } = error
    log.warn({ ...line, code, err: reason(cause ?? error) }, 'webhook refused')
    return problemAnswer({ statusCode, code, message, requestId })
  }
  const code = error instanceof GuardMisconfiguredError ? error.code : 'INTERNAL_ERROR'
  log.error({ ...line, code, err: reason(error) }, 'webhook not taken')
  const message = 'This endpoint could not take the delivery. Why was logged with this request_id.'
  return problemAnswer({ statusCode: 500, code, message, requestId })
}

type Untyped = Readonly<Record<'name' | 'verify' | 'eventId' | 'handle', unknown>> &
  Pick<WebhookGateOptions<never, never, never>, 'maxBodyBytes' | 'retryAfterSeconds'>

/** What the types refuse, and bounds that bound nothing. */
function checkOptions({ name, verify, eventId, handle, ...numbers }: Untyped): void {
  assertName(name, 'webhookGate')
  for (const [option, given] of Object.entries({ verify, eventId, handle })) {
    if (typeof given !== 'function')
      throw new GuardMisconfiguredError(`webhookGate "${name}" needs ${option}: a function.`)
  }
  const { maxBodyBytes = 1, retryAfterSeconds = 1 } = numbers
  for (const [option, given] of Object.entries({ maxBodyBytes, retryAfterSeconds }))
    assertCount(given, option, `webhookGate "${name}"`)
}
