import type { FeedEventBody } from '../machineid/wire-evidence.ts'
import type { Paint } from './cli.ts'
import { oneLine } from './one-line.ts'

type Change = Extract<FeedEventBody, { type: 'change' }>['row']
type Decision = Extract<FeedEventBody, { type: 'decision' }>['decision']

/** What makes fewer things run. */
const STOPS = new Set(['device.revoke', 'device.remove', 'lock.add', 'org.disable', 'key.burn'])
const RESTORES = new Set(['device.unrevoke', 'device.restore_removed', 'lock.release', 'org.enable'])

/** One event of the feed, as one line. */
export function feedLine(event: FeedEventBody, paint: Paint): string {
  switch (event.type) {
    case 'decision':
      return decisionLine(event.decision, paint)
    case 'change':
      return changeLine(event.row, paint)
    case 'overdue': {
      const what = event.deviceId ?? event.pattern ?? 'the org'
      return parts([
        clock(event.remindAt),
        paint.yellow('OVERDUE'.padEnd(MARK)),
        `the stop of ${what} (epoch ${event.epoch})`,
        quoted(event.reason),
      ])
    }
    case 'missed':
      return parts([clock(event.since), paint.yellow('MISSED'.padEnd(MARK)), event.message])
  }
}

const MARK = 7
const CODE = 18
const BOUNDARY = 11

function decisionLine(decision: Decision, paint: Paint): string {
  const { at, allowed, code, deviceId, boundary, tool, runId, request_id: requestId, asked } = decision
  return parts([
    paint.dim(clock(at)),
    allowed ? paint.green('allow'.padEnd(MARK)) : paint.red('DENY'.padEnd(MARK)),
    code.padEnd(CODE),
    (boundary ?? (asked === 'register' ? 'register' : '-')).padEnd(BOUNDARY),
    deviceId,
    tool,
    runId === null ? null : `run ${runId}`,
    paint.dim(requestId),
  ])
}

function changeLine({ at, action, deviceId, after, actor, actorKind, reason }: Change, paint: Paint): string {
  const { pattern, epoch } = (after ?? {}) as { readonly pattern?: unknown; readonly epoch?: unknown }
  const by = actorKind === null || actorKind === actor ? actor : `${actorKind}:${actor}`
  return parts([
    paint.dim(clock(at)),
    markOf(action, paint),
    action.padEnd(CODE),
    deviceId ?? (typeof pattern === 'string' ? pattern : null),
    `by ${by}`,
    typeof epoch === 'number' ? `epoch ${epoch}` : null,
    quoted(reason),
  ])
}

function markOf(action: string, paint: Paint): string {
  if (STOPS.has(action)) return paint.bold(paint.red('STOP'.padEnd(MARK)))
  if (RESTORES.has(action)) return paint.bold(paint.green('RESTORE'.padEnd(MARK)))
  return 'change'.padEnd(MARK)
}

/** In the time of whoever reads it. */
function clock(iso: string): string {
  const at = new Date(iso)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

function quoted(reason: string | null): string | null {
  return reason === null ? null : JSON.stringify(reason)
}

function parts(texts: readonly (string | null)[]): string {
  return oneLine(texts.filter((text) => text !== null).join('  '))
}
