import type { Session } from './session-state.ts'

const REFRESH_EVERY_MS = 60_000
const WARN_MS = 120_000

type Times = Pick<Session, 'idleAt' | 'endsAt'>

/** Whether somebody who does something now keeps the session alive by it: at most once a minute. */
export function isRefreshDue(session: Times, refreshedAtMs: number, nowMs: number): boolean {
  if (nowMs - refreshedAtMs >= REFRESH_EVERY_MS) return true
  return endingSoon(session, nowMs)?.why === 'idle' && nowMs - refreshedAtMs >= 5000
}

/** Two minutes before it: that the session ends, and whether somebody who is there can put that off. */
export function endingSoon(
  { idleAt, endsAt }: Times,
  nowMs: number,
): { readonly why: 'idle' | 'age'; readonly at: string } | undefined {
  if (Date.parse(endsAt) - nowMs <= WARN_MS) return { why: 'age', at: endsAt }
  return Date.parse(idleAt) - nowMs <= WARN_MS ? { why: 'idle', at: idleAt } : undefined
}
