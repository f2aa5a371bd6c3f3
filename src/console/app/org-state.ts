import type { Output } from '../api/routes.ts'
import { count } from '../ui/count.ts'

type Usage = Pick<
  Output<'usage'>,
  'org' | 'planState' | 'revoked' | 'locks' | 'overLimit' | 'devicesUsed' | 'limit'
>

export interface OrgState {
  readonly look: 'good' | 'bad' | 'warn' | 'quiet'
  readonly words: string
}

/** Whether everything is allowed, in a few words. What is not known is never shown as good. */
export function orgState(usage: Usage | undefined, reachable: boolean): OrgState {
  if (!reachable) return { look: 'warn', words: 'Unreachable' }
  if (usage === undefined) return { look: 'quiet', words: 'Not known yet' }
  if (usage.org.disabled) return { look: 'bad', words: 'ORG DISABLED' }
  if (!isPlanActive(usage)) return { look: 'bad', words: 'PLAN NOT ACTIVE' }
  const stops = usage.revoked + usage.locks
  if (stops > 0) return { look: 'bad', words: count(stops, 'stop') }
  if (usage.overLimit) {
    return { look: 'warn', words: `${count(usage.devicesUsed - usage.limit, 'device')} over the cap` }
  }
  return { look: 'good', words: 'Everything allowed' }
}

/** With these every validate is denied. A cancelled plan keeps its cap until it ends. */
export function isPlanActive({ planState }: Pick<Usage, 'planState'>): boolean {
  return planState !== 'frozen' && planState !== 'unpaid'
}

/** A pattern that no device of the usual form escapes. */
export function isOfEverything(pattern: string): boolean {
  return pattern.split(':').every((segment) => segment === '*')
}
