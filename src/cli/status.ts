import type { Cli, Commands } from './cli.ts'
import { quotedPattern } from '../next-commands.ts'
import { matchesDevicePattern } from '../device-patterns.ts'
import { count } from './plural.ts'
import { inFlightOf } from './replicas.ts'
import { standingOf, type Standing, type ToolServerStanding } from './status-gather.ts'
import { oneLine } from './one-line.ts'
import { stopTable } from './stops.ts'
import { table } from './table.ts'
import { when } from './times.ts'

/** One look: may work go on, and if not, who stopped it and why. */
export const statusCommands: Commands = (program, cli) => {
  program
    .command('status')
    .summary('what is stopped, by whom, why and since when')
    .description(
      'Says whether everything is allowed, and what is stopped, by whom, why and since when; devices, processes,\n' +
        'stops that nobody has confirmed, effects of unknown outcome and calls that wait for approval.',
    )
    .action(() => status(cli()))
}

async function status(cli: Cli): Promise<void> {
  const standing = await standingOf(cli.operator('see'), cli.toolServers(), cli.nowMs())
  cli.show({ json: jsonOf(standing), text: () => statusText(standing, cli) })
}

function isAllAllowed(standing: Standing): boolean {
  return isNothingStopped(standing) && standing.toolServers.every(({ deniesAll }) => deniesAll === null)
}

function isNothingStopped({ usage, denied, locks }: Standing): boolean {
  return !usage.org.disabled && !isPlanOff(usage.planState) && denied.length === 0 && locks.length === 0
}

function isPlanOff(planState: string): boolean {
  return planState === 'frozen' || planState === 'unpaid'
}

function jsonOf(standing: Standing): object {
  const { usage, locks, denied, allowedCount, replicas, unconfirmed, toolServers } = standing
  return {
    allAllowed: isAllAllowed(standing),
    orgId: usage.orgId,
    org: usage.org,
    plan: {
      tier: usage.planTier,
      state: usage.planState,
      devicesUsed: usage.devicesUsed,
      limit: usage.limit,
    },
    locks,
    denied,
    allowedCount,
    overdue: usage.overdue,
    replicas: replicas ?? null,
    unconfirmed,
    toolServers,
  }
}

function statusText(standing: Standing, cli: Cli): string {
  return [
    [headline(standing, cli), ...denyingServers(standing, cli)].join('\n'),
    ...stoppedParts(standing, cli),
    ...unconfirmedPart(standing, cli),
    summary(standing, cli),
  ].join('\n\n')
}

function headline(standing: Standing, { paint }: Cli): string {
  const { usage, denied, locks } = standing
  if (usage.org.disabled)
    return paint.bold(paint.red(`EVERYTHING is stopped: org ${usage.orgId} is disabled.`))
  if (isPlanOff(usage.planState))
    return paint.bold(paint.red(`EVERYTHING is denied: the plan is ${usage.planState}.`))
  if (isAllAllowed(standing)) return paint.bold(paint.green(`Everything is allowed in org ${usage.orgId}.`))
  if (isNothingStopped(standing))
    return paint.bold(
      paint.yellow(`Nothing is stopped in org ${usage.orgId}, and yet not everything is allowed.`),
    )
  const parts = [
    ...(denied.length > 0 ? [`${count(denied.length, 'device')} denied`] : []),
    ...(locks.length > 0 ? [count(locks.length, 'lock')] : []),
  ]
  return paint.bold(paint.yellow(`Something is stopped in org ${usage.orgId}: ${parts.join(', ')}.`))
}

/** What stops work though nobody has stopped it. */
function denyingServers({ toolServers }: Standing, { paint }: Cli): string[] {
  const denying = toolServers.filter(({ deniesAll }) => deniesAll !== null)
  const lines = denying.map(({ url, deniesAll }) =>
    paint.yellow(`The tool server at ${url} denies every call: ${deniesAll}.`),
  )
  return lines.length === 0 ? [] : [...lines, 'See: holdpoint doctor']
}

function stoppedParts({ usage: { org }, locks, denied, stopped }: Standing, cli: Cli): string[] {
  const parts: string[] = []
  if (org.disabled) {
    const reason = org.reason === null ? '' : `: "${oneLine(org.reason)}"`
    parts.push(
      `Disabled ${when(org.since, cli)} by ${byOf(stopped, org.epoch) ?? org.by ?? 'nobody known'}${reason}\nTo restore: holdpoint org enable`,
    )
  }
  if (locks.length > 0) {
    parts.push(
      table(
        locks,
        [
          { title: 'LOCKED', of: ({ pattern }) => pattern },
          {
            title: 'SINCE',
            of: ({ changedAt, overdue }) => `${when(changedAt, cli)}${overdue ? ' (overdue)' : ''}`,
          },
          { title: 'BY', of: ({ by, epoch }) => byOf(stopped, epoch) ?? by, shrinks: true },
          { title: 'REASON', of: ({ reason }) => reason, shrinks: true },
        ],
        cli,
      ),
      locks.map(({ pattern }) => `To restore: holdpoint lock release ${quotedPattern(pattern)}`).join('\n'),
    )
  }
  if (denied.length > 0) {
    parts.push(
      table(
        denied,
        [
          { title: 'DENIED', of: ({ deviceId }) => deviceId, shrinks: true },
          { title: 'WHY', of: whyOf },
          { title: 'SINCE', of: (device) => when(stopOf(device, locks).changedAt, cli) },
          { title: 'BY', of: (device) => byOf(stopped, stopOf(device, locks).epoch) ?? '-', shrinks: true },
          { title: 'REASON', of: (device) => stopOf(device, locks).reason ?? '-', shrinks: true },
        ],
        cli,
      ),
    )
    if (denied.some(({ revoked }) => revoked))
      parts.push('To restore a revoked device: holdpoint devices restore ID')
  }
  return parts
}

/** What denies a device: its own stop, else the lock that fits it. */
function stopOf(
  device: Standing['denied'][number],
  locks: Standing['locks'],
): Pick<Standing['denied'][number], 'changedAt' | 'epoch' | 'reason'> {
  if (device.revoked) return device
  return locks.find(({ pattern }) => matchesDevicePattern(pattern, device.deviceId)) ?? device
}

/** With the kind of the key, which the switch itself does not keep. */
function byOf(stopped: Standing['stopped'], epoch: number): string | undefined {
  return stopped.get(epoch)?.by
}

function whyOf({ revoked, locked, overLimit }: Standing['denied'][number]): string {
  return [revoked && 'revoked', locked && 'locked', overLimit && 'over limit'].filter(Boolean).join(', ')
}

function unconfirmedPart({ unconfirmed }: Standing, cli: Cli): string[] {
  if (unconfirmed.length === 0) return []
  const title = cli.paint.yellow('Stops that not every process has confirmed (holdpoint stops show EPOCH):')
  return [`${title}\n${stopTable(unconfirmed, cli)}`]
}

const TITLE = 14

function summary({ usage, replicas, toolServers }: Standing, cli: Cli): string {
  const { devicesUsed, limit, planTier, overdue } = usage
  const line = (title: string, text: string) => `${cli.paint.dim(title.padEnd(TITLE))}${text}`
  return [
    line('Devices', `${devicesUsed} of ${limit} (plan ${planTier})`),
    ...(replicas === undefined ? [] : [line('Processes', processes(replicas))]),
    ...(overdue === 0 ? [] : [line('Overdue', `${count(overdue, 'stop')} past the reminder`)]),
    ...toolServers.map((server) => line('Tool server', toolServerText(server, cli))),
  ].join('\n')
}

function processes(replicas: NonNullable<Standing['replicas']>): string {
  const listening = replicas.filter(({ stream }) => stream === 'up').length
  const silent = replicas.filter((replica) => replica.stream === 'down' && replica.silent).length
  const calls = replicas.reduce((sum, replica) => sum + inFlightOf(replica), 0)
  const parts = [
    `${listening} of ${replicas.length} listen for stops`,
    `${count(calls, 'call')} in flight at last count`,
  ]
  if (silent > 0) parts.push(`${silent} silent`)
  return replicas.length === 0 ? 'none was heard of' : parts.join(', ')
}

function toolServerText({ url, problem, ...standing }: ToolServerStanding, { paint }: Cli): string {
  if (problem !== null) return `${paint.yellow('not reached')}: ${problem}`
  const { status, unknownOutcomes, waitingApprovals } = standing
  const parts = [
    `${url} ${status === 'ok' ? paint.green('ok') : paint.yellow(status ?? '')}`,
    unknownOutcomes === null ? 'its journal cannot be read' : `${count(unknownOutcomes, 'unknown outcome')}`,
    ...(waitingApprovals === null ? [] : [`${count(waitingApprovals, 'approval')} waiting`]),
  ]
  return parts.join(', ')
}
