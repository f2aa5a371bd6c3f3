import type { StopBody } from '../machineid/wire-stops.ts'
import type { Cli, Paint } from './cli.ts'
import { shownStop, type ShownReplica, type ShownStop } from '../key-cut.ts'
import { table } from './table.ts'
import { span } from './times.ts'

type Look = Pick<Cli, 'columns' | 'paint'>

const MEANS: Readonly<Record<ShownReplica['state'], string>> = {
  confirmed: 'nothing runs there any more that the stop found',
  acknowledged: 'denies, and some of what the stop found still runs',
  denying: 'said nothing, but was denied after the stop',
  told: 'the stop was sent to it, no more is known',
  silent: 'nothing was heard of it',
  cut: 'told that its key is cut, and its stream closed',
}

/** What every replica is known to have made of a stop, and in the last line what that comes to. */
export function stopLines(told: StopBody, look: Look): string {
  const stop = shownStop(told)
  const lines: string[] = []
  if (stop.replicas.length > 0) {
    const calls = stop.replicas.flatMap(({ replica, calls }) => calls.map((call) => ({ replica, ...call })))
    lines.push(replicaTable(stop, look))
    if (calls.length > 0) lines.push('', callTable(calls, look))
    lines.push('')
  }
  return [...lines, verdict(stop, look.paint)].join('\n')
}

function replicaTable({ at, replicas }: ShownStop, look: Look): string {
  const since = (iso: string | null) =>
    iso === null ? '-' : `+${span(Math.max(0, Date.parse(iso) - Date.parse(at)))}`
  return table(
    replicas,
    [
      { title: 'REPLICA', of: ({ replica }) => replica },
      { title: 'STATE', of: ({ state }) => colour(state, look.paint) },
      { title: 'TOLD', of: ({ toldAt }) => since(toldAt) },
      { title: 'DENIES', of: ({ receivedAt }) => since(receivedAt) },
      { title: 'SETTLED', of: ({ settledAt }) => since(settledAt) },
      { title: 'ITS CALLS', of: endsOf },
      {
        title: 'LAST DENIED',
        of: ({ lastDenied }) => (lastDenied === null ? '-' : `${since(lastDenied.at)} ${lastDenied.code}`),
      },
    ],
    look,
  )
}

function callTable(
  calls: readonly (ShownReplica['calls'][number] & { readonly replica: string })[],
  look: Look,
): string {
  return table(
    calls,
    [
      { title: 'CALL', of: ({ callId }) => callId ?? '-', shrinks: true },
      { title: 'TOOL', of: ({ tool }) => tool ?? '-' },
      { title: 'RUN', of: ({ runId }) => runId ?? '-', shrinks: true },
      { title: 'END', of: ({ end }) => (end === 'unknown' ? look.paint.red(end) : end) },
      { title: 'ON', of: ({ replica }) => replica },
    ],
    look,
  )
}

/** `2 aborted, 1 running`. */
function endsOf({ aborted, finished, unknown, running }: ShownReplica): string {
  const ends = Object.entries({ aborted, finished, unknown, running }).filter(([, count]) => count > 0)
  return ends.map(([end, count]) => `${count} ${end}`).join(', ') || 'none'
}

function verdict({ state, replicas }: ShownStop, paint: Paint): string {
  switch (state) {
    case 'confirmed': {
      const unknown = replicas.reduce((sum, replica) => sum + replica.unknown, 0)
      const who = replicas.length === 1 ? 'the one replica' : `all ${replicas.length} replicas`
      const doubt =
        unknown === 0
          ? ''
          : paint.yellow(` Of ${unknown} effect${unknown === 1 ? '' : 's'} nobody knows whether it happened.`)
      return `${paint.green('Confirmed')} by ${who}: nothing runs any more that the stop found.${doubt}`
    }
    case 'no_replicas':
      return `${paint.yellow('Nobody to confirm it')}: no process that it concerns was heard of in the hour before. It holds all the same.`
    case 'unconfirmed': {
      const open = replicas.filter((replica) => replica.state !== 'confirmed')
      const why = open.map((replica) => `  ${replica.replica}: ${MEANS[replica.state]}`)
      return [
        `${paint.yellow('Unconfirmed')}: ${open.length} of ${replicas.length} ${open.length === 1 ? 'has' : 'have'} not said that what ran there has ended. Nothing new starts there all the same.`,
        ...why,
      ].join('\n')
    }
    case 'cut': {
      const missed = replicas.filter((replica) => replica.state !== 'cut')
      return [
        `${paint.yellow('Cut')}: ${replicas.length - missed.length} of ${replicas.length} told. Nobody can confirm it with a key that is burned; what ran there may still end on its own. Nothing new starts with that key.`,
        ...missed.map((replica) => `  ${replica.replica}: ${MEANS[replica.state]}`),
      ].join('\n')
    }
  }
}

/** `confirmed`, `cut`, or how many replicas have. */
export function confirmationOf(stop: StopBody, paint: Paint): string {
  const { state, replicas } = shownStop(stop)
  if (state === 'cut') return paint.dim('cut')
  if (state === 'confirmed') return paint.green('confirmed')
  if (state === 'no_replicas') return paint.dim('nobody to')
  const confirmed = replicas.filter((replica) => replica.state === 'confirmed').length
  return paint.yellow(`${confirmed} of ${replicas.length}`)
}

/** The device, pattern or key that a stop is about. */
export function whatOf({ action, deviceIds, deviceCount, pattern, keyId }: StopBody): string {
  if (action === 'org.disable') return 'the whole org'
  const [first] = deviceIds
  if (deviceCount > 1) return `${first ?? ''} and ${deviceCount - 1} more`
  return first ?? pattern ?? (keyId === null ? '-' : `key ${keyId}`)
}

function colour(state: ShownReplica['state'], paint: Paint): string {
  if (state === 'confirmed') return paint.green(state)
  return state === 'silent' ? paint.red(state) : paint.yellow(state)
}
