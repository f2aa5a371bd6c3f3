import { systemClock, type Clock } from '../clock.ts'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'
import type { GuardEvent } from '../guard/events.ts'
import type { Guard } from '../guard/guard.ts'
import { createLogger, type Logger } from '../log.ts'
import { isLoopback } from '../loopback.ts'
import { AlertCauses } from './alert-causes.ts'
import { AlertDelivery } from './alert-delivery.ts'
import { alertBody } from './alert.ts'
import { assertCount, assertGraceMs, assertRetryMs } from './options.ts'
import { webhookKey } from './webhook-signature.ts'

/** What `createAlerts` takes. */
export interface AlertsOptions {
  /** Where alerts go, by https, or http on loopback. May hold a token: it is never logged. Redirects are not followed. */
  readonly url: string
  /** What they are signed with, as Standard Webhooks has it: `whsec_` and 24 to 64 bytes in base64. */
  readonly secret: string
  /**
   * How long a cause is only counted after it was told, in milliseconds. Default 300,000. Doubles each time that it is
   * told again, up to an hour.
   */
  readonly dedupeMs?: number
  /** Of one delivery, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number
  /** The first pause before a failed delivery is tried again, in milliseconds. Default 1,000. Doubles up to a minute. */
  readonly retryMs?: number
  /** How many alerts wait at most behind the one that is being sent. Default 100. Beyond that old ones are dropped, and counted. */
  readonly maxWaiting?: number
  /** What no alert is made of, such as the calls of a drill. Default: nothing. */
  readonly ignore?: (event: GuardEvent) => boolean
  /** Default: pino to standard output. */
  readonly log?: Logger
  /** Default: the system's. For tests. */
  readonly clock?: Clock
}

/** Where alerts come from. */
export interface Alerts {
  /** Alerts of what this guard decides from now on. Gives back what ends it. */
  watch(guard: Guard): () => void
  /** Ends all that; what is counted and waits is delivered once more, for at most `graceMs`, default 2,000. */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

const TICK_MS = 1000
/** How long the close of a guard may be held up. */
const LAST_MS = 1000

/**
 * Tells a person: a signed webhook when work is denied, when the authority gives no answer, when it is not known whether
 * an effect happened, and when a denial or an outage is over. It only listens: it asks nothing, and no decision waits for
 * it or changes by it. Throws `GUARD_MISCONFIGURED`.
 */
export function createAlerts(options: AlertsOptions): Alerts {
  const { secret, log = createLogger(), clock = systemClock, ignore = () => false } = options
  const { dedupeMs = 300_000, timeoutMs = 5000, retryMs = 1000, maxWaiting = 100 } = options
  for (const [option, ms] of Object.entries({ dedupeMs, timeoutMs, retryMs }))
    assertRetryMs(ms, 'createAlerts', option)
  assertCount(maxWaiting, 'maxWaiting', 'createAlerts')
  const delivery = new AlertDelivery({
    url: sinkUrl(options.url),
    key: webhookKey(secret, 'secret (ALERT_WEBHOOK_SECRET)'),
    // Timeouts of requests take whole milliseconds alone.
    timeoutMs: Math.ceil(timeoutMs),
    retryMs,
    maxWaiting,
    log,
    clock,
  })
  const causes = new AlertCauses(dedupeMs, (status, tally) => {
    const { wallMs } = clock.now()
    delivery.add((dropped) => alertBody(status, tally, { wallMs, dropped }))
  })
  const watched = new Map<Guard, () => void>()
  let ticking: NodeJS.Timeout | undefined
  let closing: Promise<void> | undefined

  /** What nobody could say of is told. */
  function isIgnored(event: GuardEvent): boolean {
    try {
      return ignore(event)
    } catch (cause) {
      log.error({ err: messageOf(cause) }, 'ignore threw, so what it was asked about is told')
      return false
    }
  }

  function watch(guard: Guard): () => void {
    if (closing !== undefined) throw new GuardMisconfiguredError('These alerts are closed. Create new ones.')
    ticking ??= setInterval(() => causes.tellDue(clock.now()), Math.min(dedupeMs, TICK_MS)).unref()
    const end = () => {
      watched.get(guard)?.()
      watched.delete(guard)
    }
    end()
    const listener = (event: GuardEvent) => {
      if (!isIgnored(event)) causes.saw(guard, event, clock.now())
    }
    // Gates that exit on a denial close their guard and nothing else: what they exit for must be told by then.
    watched.set(
      guard,
      guard.subscribe(listener, () => delivery.sent(LAST_MS)),
    )
    return end
  }

  function close({ graceMs = 2000 }: { readonly graceMs?: number } = {}): Promise<void> {
    if (closing !== undefined) return closing
    assertGraceMs(graceMs, 'alerts.close')
    for (const end of watched.values()) end()
    clearInterval(ticking)
    causes.tellDue(clock.now(), { all: true })
    return (closing = delivery.close(graceMs))
  }

  return { watch, close }
}

/** The URL may hold a token: not repeated in a message. */
function sinkUrl(text: unknown): URL {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new GuardMisconfiguredError('url (ALERT_WEBHOOK_URL) must be an https URL.')
  if (url.username !== '' || url.password !== '')
    throw new GuardMisconfiguredError(
      'url (ALERT_WEBHOOK_URL) must not carry credentials: alerts are signed.',
    )
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new GuardMisconfiguredError(
      `url (ALERT_WEBHOOK_URL) is plain http to ${url.hostname}: anyone between could read it. Use https.`,
    )
  }
  return url
}
