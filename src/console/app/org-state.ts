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
export function orgState(usage: Usage | undefined, reachable: boolean, isCurrent = true): OrgState {
  if (!reachable) return { look: 'warn', words: 'Unreachable' }
  if (usage === undefined) return { look: 'quiet', words: 'Not known yet' }
  if (!isCurrent) return { look: 'warn', words: 'Not up to date' }
  if (usage.org.disabled) return { look: 'bad', words: 'ORG DISABLED' }
  if (!isPlanActive(usage)) return { look: 'bad', words: 'PLAN NOT ACTIVE' }
  if (usage.revoked + usage.locks > 0) return { look: 'bad', words: stopWords(usage) }
  if (usage.overLimit) {
    return { look: 'warn', words: `${count(usage.devicesUsed - usage.limit, 'device')} over the cap` }
  }
  return { look: 'good', words: 'Everything allowed' }
}

function stopWords({ revoked, locks }: Pick<Usage, 'revoked' | 'locks'>): string {
  return [
    ...(revoked > 0 ? [`${revoked.toLocaleString('en')} revoked`] : []),
    ...(locks > 0 ? [count(locks, 'lock')] : []),
  ].join(', ')
}

/** With these every validate is denied. A cancelled plan keeps its cap until it ends. */
export function isPlanActive({ planState }: Pick<Usage, 'planState'>): boolean {
  return planState !== 'frozen' && planState !== 'unpaid'
}

/** A pattern that no device of the usual form escapes. */
export function isOfEverything(pattern: string): boolean {
  return pattern.split(':').every((segment) => segment === '*')
}
