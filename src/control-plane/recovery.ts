import { systemClock, type Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { createMailQueue } from './mail-queue.ts'
import { domainOf, type Mail, type Mailer } from './mail.ts'
import type { OwnersAsked, OwnersChanged } from './owners.ts'
import type { LimitStore } from './nodes/node-store.ts'
import { createLinkLives } from './recovery-link-lives.ts'
import type { Recovered, RecoveryLink } from './recovery-links.ts'
import {
  createAddressLimit,
  createRequestLimit,
  createSharedAddressLimit,
  createSharedRequestLimit,
} from './recovery-limits.ts'
import { linkMail, ownersMails, recoveredMails, signedInMails } from './recovery-mails.ts'
import { Refusal } from './refusal.ts'
import type { Caller, ControlPlaneService } from './service.ts'
import type { HeldSession } from './sessions/session-service.ts'

/** How long a notice of what has happened is worth sending. */
const NOTICE_LIFE_MS = 24 * 3_600_000
/** How many requests may wait for the worker. */
const MAX_WAITING = 1000
/** Work begins up to this long after the request, so that the next one cannot feel what the first one set off. */
const WORK_WITHIN_MS = 2000

/** Magic links by mail, and who gets them. */
export interface Recovery {
  /**
   * Notes that somebody who may own `email` asks for links, and nothing more: nothing of it is looked up here, so that
   * nothing can be learnt here. Rejects with `RATE_LIMITED`.
   */
  readonly request: (caller: Caller, email: string) => Promise<void>
  /** A new `admin` key for a link. Tells every owner. Refuses with `RECOVERY_LINK_INVALID` or `RATE_LIMITED`. */
  readonly confirm: (caller: Caller, token: string) => Promise<Recovered>
  /** A session in the console for a link. Tells every owner. Refuses as `confirm` does. */
  readonly signIn: (caller: Caller, token: string) => Promise<HeldSession>
  /** Tells every owner of before and after. Refuses with `LAST_OWNER` or `TOO_MANY_OWNERS`. */
  readonly changeOwners: (caller: Caller, orgId: string, asked: OwnersAsked) => Promise<OwnersChanged>
  /** Works off the requests that wait, at once. Resolves when no mail is being sent any more. */
  readonly flush: () => Promise<void>
  /** Lets the worker finish, and what waits be sent, for a few seconds. */
  readonly close: () => Promise<void>
}

export interface RecoveryOptions {
  readonly service: ControlPlaneService
  /** Closed with the recovery. */
  readonly mailer: Mailer
  /** Where links in mails lead. Asked when a mail is written; never made of what a request says. */
  readonly consoleUrl: () => string
  readonly log: Logger
  readonly clock?: Clock | undefined
  /** Default 2000. */
  readonly workWithinMs?: number | undefined
  /** Before each new try to send a mail; the last one is used again and again. */
  readonly retryAfterMs?: readonly number[] | undefined
  /** How many requests may wait. Default 1000. */
  readonly maxWaiting?: number | undefined
  /** Whether requests are limited by where they come from. Default true. */
  readonly limitRequests?: boolean | undefined
  /** What is counted over all nodes. Default: this process is the only one. */
  readonly shared?: LimitStore | undefined
}

export function createRecovery(options: RecoveryOptions): Recovery {
  const { service, log, clock = systemClock, retryAfterMs } = options
  const { workWithinMs = WORK_WITHIN_MS, maxWaiting = MAX_WAITING, limitRequests = true } = options
  const { nowMs } = service
  const monotonicMs = () => clock.now().monotonicMs
  const mails = createMailQueue({ mailer: options.mailer, log, nowMs, retryAfterMs })
  const { shared } = options
  const newLimit = (what: 'recovery' | 'bad_link'): ((origin: string | null) => void | Promise<void>) => {
    if (!limitRequests) return () => {}
    const local = createRequestLimit(monotonicMs)
    return shared === undefined ? local : createSharedRequestLimit(shared, what, local)
  }
  const limits = { request: newLimit('recovery'), badLink: newLimit('bad_link') }
  const mayMail = shared === undefined ? createAddressLimit(monotonicMs) : createSharedAddressLimit(shared)
  const lives = createLinkLives(service, clock, log)
  const waiting = new Map<string, Caller>()
  let timer: NodeJS.Timeout | undefined
  let working = Promise.resolve()
  let closing = false

  const occasion = (caller: Caller) => ({
    caller,
    atMs: nowMs(),
    consoleUrl: options.consoleUrl().replace(/\/+$/, ''),
  })
  const tell = (notices: readonly Mail[]) => {
    for (const mail of notices) mails.post(mail, nowMs() + NOTICE_LIFE_MS)
  }
  /** Only links that do not work are counted, so that nobody can keep whoever has a genuine one away. */
  const spent = async <T>({ origin }: Caller, redeem: () => Promise<T>): Promise<T> => {
    try {
      return await redeem()
    } catch (error) {
      if (error instanceof Refusal) await limits.badLink(origin)
      throw error
    }
  }
  const sendLinks = async (email: string, caller: Caller): Promise<void> => {
    const domain = domainOf(email)
    const orgIds = await service.orgsOwnedBy(email)
    if (orgIds.length === 0) return log.info({ domain }, 'recovery asked for an address that owns no org')
    if (!(await mayMail(email)))
      return log.warn({ domain }, 'recovery asked too often for an address, no mail is sent')
    const links: RecoveryLink[] = []
    for (const orgId of orgIds) {
      const link = await service.createRecoveryLink(caller, orgId, email)
      if (link === undefined) continue
      lives.begin(link)
      links.push(link)
    }
    const expiresAtMs = Math.min(...links.map((link) => link.expiresAtMs))
    if (links.length > 0) mails.post(linkMail(email, links, occasion(caller)), expiresAtMs)
  }
  const work = async (): Promise<void> => {
    for (const [email, caller] of waiting) {
      waiting.delete(email)
      try {
        await sendLinks(email, caller)
      } catch (error) {
        log.error({ reason: messageOf(error) }, 'recovery links could not be made')
      }
    }
  }
  const wake = () => {
    clearTimeout(timer)
    timer = undefined
    working = working.then(work)
  }

  return {
    request: async (caller, email) => {
      await limits.request(caller.origin)
      if (closing || (waiting.size >= maxWaiting && !waiting.has(email))) {
        return log.warn({ waiting: waiting.size }, 'too many recoveries are asked for, one was dropped')
      }
      waiting.set(email, caller)
      timer ??= setTimeout(wake, Math.random() * workWithinMs).unref()
    },
    confirm: async (caller, token) => {
      // Nothing may go wrong once there is a key: it is shown this once.
      const when = occasion(caller)
      const recovered = await spent(caller, () => service.recover(caller, token, lives.isOver))
      tell(recoveredMails(recovered, when))
      return recovered
    },
    signIn: async (caller, token) => {
      const when = occasion(caller)
      const held = await spent(caller, () => service.startSessionByLink(caller, token, lives.isOver))
      tell(signedInMails(held, when))
      return held
    },
    changeOwners: async (caller, orgId, asked) => {
      const when = occasion(caller)
      const changed = await service.changeOwners(caller, orgId, asked)
      if (changed.before.join() !== changed.owners.join()) tell(ownersMails(changed, when))
      return changed
    },
    flush: async () => {
      wake()
      await working
      await mails.idle()
    },
    close: async () => {
      closing = true
      wake()
      await working
      await mails.close()
      lives.close()
    },
  }
}
