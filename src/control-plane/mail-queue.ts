import { messageOf } from '../errors.ts'
import { jittered } from '../jitter.ts'
import type { Logger } from '../log.ts'
import { domainOf, MailError, type Mail, type Mailer } from './mail.ts'

/** After each failure, the last one again and again until the mail is of no use any more. */
const RETRY_AFTER_MS = [5000, 30_000, 120_000, 300_000]
const MAX_WAITING = 1000
const AT_ONCE = 3
/** How long a control plane that is closing goes on sending. */
const CLOSE_WITHIN_MS = 5000

interface Waiting {
  readonly mail: Mail
  readonly untilMs: number
  failures: number
  timer?: NodeJS.Timeout
}

/** Sends mails behind the requests that cause them, and again when that fails. */
export interface MailQueue {
  /** Takes note and returns at once. `untilMs` is when the mail is of no use any more, in wall-clock milliseconds. */
  readonly post: (mail: Mail, untilMs: number) => void
  /** Resolves when no mail is being sent. Others may wait for their next try. */
  readonly idle: () => Promise<void>
  /** Tries what is waiting once more, for a few seconds, and ends. */
  readonly close: () => Promise<void>
}

export function createMailQueue(options: {
  readonly mailer: Mailer
  readonly log: Logger
  readonly nowMs: () => number
  readonly retryAfterMs?: readonly number[] | undefined
  /** Mails beyond this are dropped. Default 1000. */
  readonly maxWaiting?: number | undefined
}): MailQueue {
  const { mailer, log, nowMs, retryAfterMs = RETRY_AFTER_MS, maxWaiting = MAX_WAITING } = options
  const waiting = new Set<Waiting>()
  const ready: Waiting[] = []
  const sending = new Set<Promise<void>>()
  let closing = false

  const failed = (item: Waiting, error: unknown) => {
    const delayMs = retryAfterMs[Math.min(item.failures, retryAfterMs.length - 1)] ?? 0
    item.failures++
    const permanent = error instanceof MailError && error.permanent
    const again = !permanent && !closing && nowMs() + delayMs < item.untilMs
    const line = { domain: domainOf(item.mail.to), failures: item.failures, reason: messageOf(error) }
    if (!again) {
      waiting.delete(item)
      return log.error(line, 'a mail could not be sent, giving up')
    }
    log.warn(line, 'a mail could not be sent, trying again')
    item.timer = setTimeout(() => start(item), jittered(delayMs)).unref()
  }
  const attempt = async (item: Waiting): Promise<void> => {
    try {
      await mailer.send(item.mail)
      waiting.delete(item)
    } catch (error) {
      failed(item, error)
    }
  }
  const pump = () => {
    while (sending.size < AT_ONCE) {
      const item = ready.shift()
      if (item === undefined) return
      const attempted = attempt(item).finally(() => {
        sending.delete(attempted)
        pump()
      })
      sending.add(attempted)
    }
  }
  const start = (item: Waiting) => {
    clearTimeout(item.timer)
    delete item.timer
    ready.push(item)
    pump()
  }
  const idle = async () => {
    while (sending.size > 0) await Promise.all(sending)
  }

  return {
    post: (mail, untilMs) => {
      if (closing || waiting.size >= maxWaiting) {
        return log.error(
          { domain: domainOf(mail.to), waiting: waiting.size },
          'too many mails wait, one was dropped',
        )
      }
      const item: Waiting = { mail, untilMs, failures: 0 }
      waiting.add(item)
      start(item)
    },
    idle,
    close: async () => {
      closing = true
      for (const item of waiting) if (item.timer !== undefined) start(item)
      const cut = setTimeout(() => mailer.close(), CLOSE_WITHIN_MS)
      await idle()
      clearTimeout(cut)
      mailer.close()
    },
  }
}
