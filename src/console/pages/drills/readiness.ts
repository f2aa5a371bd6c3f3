import type { Output } from '../../api/routes.ts'

type Summary = Output<'drills'>['drills'][number]

/** After that, a drill says little about what runs now. */
export const FRESH_DAYS = 7
const DAY_MS = 86_400_000

export interface Readiness {
  readonly look: 'good' | 'warn' | 'bad' | 'quiet'
  readonly title: string
  readonly note: string
}

/** Whether somebody has shown lately that a stop holds. `last` is the newest drill. */
export function readinessOf(last: Summary | undefined, nowMs: number): Readiness {
  if (last === undefined) {
    return {
      look: 'quiet',
      title: 'no drill yet',
      note: 'Nobody has shown here yet that a stop holds on what runs. A drill does, without a real effect.',
    }
  }
  if (last.startedAfterAck > 0) {
    return {
      look: 'bad',
      title: 'a stop did not hold',
      note: `In the last drill ${last.startedAfterAck} that ${last.startedAfterAck === 1 ? 'was' : 'were'} sent after the ack of a stop started all the same (G1).`,
    }
  }
  if (!last.held) {
    return {
      look: 'bad',
      title: 'the last drill was not held',
      note: 'It did not show that a stop holds. Its report says which step failed, and why.',
    }
  }
  if (nowMs - Date.parse(last.startedAt) > FRESH_DAYS * DAY_MS) {
    return {
      look: 'warn',
      title: 'drill is due',
      note: `The last drill held, but is older than ${FRESH_DAYS} days: what runs may have changed since.`,
    }
  }
  return {
    look: 'good',
    title: 'ready',
    note: 'The last drill held: no call that was sent after a stop started.',
  }
}
