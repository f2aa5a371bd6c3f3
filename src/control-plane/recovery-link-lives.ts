import { ageMs, type Clock, type Instant } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { LOCAL } from './change.ts'
import { LINK_LIFE_MS, type RecoveryLink } from './recovery-links.ts'
import type { ControlPlaneService } from './service.ts'

/** How old links are by both clocks of this process, which know more than a wall clock that was set back. */
export interface LinkLives {
  /** Ends the link for good when its time has passed. */
  readonly begin: (link: RecoveryLink) => void
  readonly isOver: (digest: string) => boolean
  readonly close: () => void
}

export function createLinkLives(service: ControlPlaneService, clock: Clock, log: Logger): LinkLives {
  const lives = new Map<string, { readonly since: Instant; readonly timer: NodeJS.Timeout }>()
  const end = ({ orgId, digest }: RecoveryLink) => {
    lives.delete(digest)
    service.endRecoveryLink(LOCAL, orgId, digest).catch((error: unknown) => {
      log.error({ reason: messageOf(error) }, 'a recovery link could not be ended; its time has passed')
    })
  }
  return {
    begin: (link) => {
      const timer = setTimeout(() => end(link), LINK_LIFE_MS).unref()
      lives.set(link.digest, { since: clock.now(), timer })
    },
    isOver: (digest) => {
      const life = lives.get(digest)
      return life !== undefined && ageMs(life.since, clock.now()) >= LINK_LIFE_MS
    },
    close: () => {
      for (const { timer } of lives.values()) clearTimeout(timer)
      lives.clear()
    },
  }
}
