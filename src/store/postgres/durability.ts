import type { PostgresDurability } from '../../control-plane/stops/stop-store.ts'
import { HoldpointError } from '../../errors.ts'
import type { Settings } from './identity.ts'

export type Consistency = PostgresDurability['consistency']

/** What the tests run with. */
const TESTED_MAJOR = 18
/** Older ones lack functions that we call. */
const OLDEST_MAJOR = 13
/** With others, a commit is acked before it is on a disk that outlives the server. */
const DURABLE_COMMITS = new Set(['on', 'remote_apply'])

/** What a server that is not durable puts at risk. */
export const AT_RISK = {
  stops: 'a stop that was acknowledged could be lost in a power cut (G5)',
  intents: 'an intent could be lost in a power cut while its effect happened (G8)',
} as const

/** Throws `STORE_NOT_DURABLE` for a server that would lose what it has confirmed. Of each new connection. */
export function assertDurable(
  { fsync, synchronousCommit }: Pick<Settings, 'fsync' | 'synchronousCommit'>,
  label: string,
  atRisk: string,
): void {
  if (fsync !== 'on') {
    throw new HoldpointError(
      'STORE_NOT_DURABLE',
      `The database ${label} runs with fsync=${fsync}, so ${atRisk}. Set fsync=on there.`,
    )
  }
  if (DURABLE_COMMITS.has(synchronousCommit)) return
  throw new HoldpointError(
    'STORE_NOT_DURABLE',
    `The database ${label} runs our connections with synchronous_commit=${synchronousCommit}, although we ask for "on": ${atRisk}. ` +
      'Is there a pooler in between that drops the options of a connection? Lead the URL past it.',
  )
}

/** Throws `STORE_TOO_OLD`, or `STORE_NOT_SYNCHRONOUS` where what was asked for cannot hold. Once, at the start. */
export function assertCanStart(settings: Settings, consistency: Consistency, label: string): void {
  const { version, versionNumber, synchronousStandbyNames } = settings
  if (majorOf(versionNumber) < OLDEST_MAJOR) {
    throw new HoldpointError(
      'STORE_TOO_OLD',
      `The database ${label} is Postgres ${version}; what we need is there from ${OLDEST_MAJOR} on, and tested with ${TESTED_MAJOR}.`,
    )
  }
  if (consistency === 'primary' || synchronousStandbyNames !== '') return
  throw new HoldpointError(
    'STORE_NOT_SYNCHRONOUS',
    `CONSISTENCY=quorum needs a standby that confirms each commit, and the database ${label} waits for none. ` +
      'Set synchronous_standby_names there, or CONSISTENCY=primary.',
  )
}

export function durabilityOf(settings: Settings, consistency: Consistency): PostgresDurability {
  const { version, fsync, fullPageWrites, synchronousCommit, synchronousStandbys } = settings
  const { synchronousStandbyNames } = settings
  const waited = waitedFor(synchronousStandbyNames)
  return {
    kind: 'postgres',
    version,
    fsync,
    fullPageWrites,
    synchronousCommit,
    synchronousStandbyNames,
    synchronousStandbys,
    consistency,
    failover: failoverOf(waited, consistency),
  }
}

/**
 * Where some of the standbys are enough for a commit, those that are left when one is promoted are enough for the old
 * primary: it goes on proving that it is one. So a quorum replaces fencing only where all of them have to confirm.
 */
function failoverOf(waited: Waited | undefined, consistency: Consistency): PostgresDurability['failover'] {
  if (waited === undefined) return { g1: 'no', g5: 'no' }
  if (waited.confirming < waited.standbys) return { g1: 'fencing', g5: 'promotion' }
  return { g1: consistency === 'quorum' ? 'holds' : 'fencing', g5: 'holds' }
}

/** How many of which standbys confirm a commit before it is acked. */
interface Waited {
  readonly confirming: number
  /** Infinite with `*`: whichever there are. */
  readonly standbys: number
}

/** As `synchronous_standby_names` says; undefined when commits wait for nobody. */
function waitedFor(names: string): Waited | undefined {
  if (names.trim() === '') return undefined
  const [, count = '1', list = names] = /^\s*(?:FIRST\s+|ANY\s+)?(\d+)\s*\((.*)\)\s*$/i.exec(names) ?? []
  const standbys = list.split(',').map((name) => name.trim())
  const anyone = standbys.some((name) => name === '*' || name === '"*"')
  return { confirming: Number(count), standbys: anyone ? Number.POSITIVE_INFINITY : standbys.length }
}

function durable(waited: Waited | undefined): string {
  if (waited === undefined) {
    return 'does NOT hold: commits wait for no standby, so one that is promoted may lack acknowledged stops'
  }
  const { confirming, standbys } = waited
  if (confirming >= standbys) return 'holds: each standby that may be promoted has confirmed every commit'
  // Of so many at least one has confirmed the last commit, and with it all before.
  const others =
    standbys === Number.POSITIVE_INFINITY ? 'all there are' : `any ${standbys - confirming + 1} of them`
  return `holds only where the standby that is promoted is as far as the furthest of ${others}: ${shareOf(waited)} confirms a commit`
}

function fresh(waited: Waited | undefined, consistency: Consistency): string {
  if (waited === undefined || (consistency === 'quorum' && waited.confirming >= waited.standbys)) {
    return durable(waited)
  }
  const fenced = 'the old primary is fenced off, which this server cannot see'
  if (waited.confirming >= waited.standbys) return `holds only where ${fenced}; or with CONSISTENCY=quorum`
  return (
    `holds only where G5 does and ${fenced}: ${shareOf(waited)} confirms a commit, so those that are left can go on confirming ` +
    'for it, whatever CONSISTENCY is. Or let all of them confirm, with CONSISTENCY=quorum'
  )
}

function shareOf({ confirming, standbys }: Waited): string {
  return standbys === Number.POSITIVE_INFINITY
    ? `any ${confirming} of those that are there`
    : `${confirming} of ${standbys} standbys`
}

/** For people who start a node: what is set, and which guarantees hold, a line each. */
export function reportOf(durability: PostgresDurability): readonly string[] {
  const { version, fsync, synchronousCommit, synchronousStandbyNames, synchronousStandbys } = durability
  const { consistency } = durability
  const waited = waitedFor(synchronousStandbyNames)
  const standbys = synchronousStandbys === null ? '' : `, ${synchronousStandbys} of them there now`
  const names = synchronousStandbyNames === '' ? 'none' : `"${synchronousStandbyNames}"${standbys}`
  return [
    `Postgres ${version}, fsync=${fsync}, synchronous_commit=${synchronousCommit}, synchronous standbys: ${names}, CONSISTENCY=${consistency}`,
    'While the primary stays the same, a stop that was acknowledged is fresh (G1) and durable (G5).',
    `Across a failover, G5 (durable) ${durable(waited)}.`,
    `Across a failover, G1 (fresh) ${fresh(waited, consistency)}.`,
  ]
}

/** What is no reason to refuse, and should be known. */
export function warningsOf(settings: Settings): readonly string[] {
  const { version, versionNumber, fullPageWrites, synchronousStandbyNames, synchronousStandbys } = settings
  const warnings: string[] = []
  if (majorOf(versionNumber) !== TESTED_MAJOR) {
    warnings.push(`Postgres ${version} is not what the tests run with, which is ${TESTED_MAJOR}.`)
  }
  // Right on a file system that never writes half a page, such as ZFS, and nobody can see from here which one it is.
  if (fullPageWrites !== 'on') {
    warnings.push(
      'full_page_writes is off: a power cut can damage the database, with acknowledged stops in it (G5), unless its file system never writes half a page.',
    )
  }
  if (synchronousStandbyNames !== '' && synchronousStandbys === 0) {
    warnings.push(
      'No synchronous standby is there: every change waits for one, and is answered 503 until it comes.',
    )
  }
  return warnings
}

function majorOf(versionNumber: number): number {
  return Math.floor(versionNumber / 10_000)
}
