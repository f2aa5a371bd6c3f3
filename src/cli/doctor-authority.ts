import type { DiagnosisBody } from '../machineid/wire-drills.ts'
import {
  clockFinding,
  milliseconds,
  type AuthorityFacts,
  type DoctorFacts,
  type Finding,
} from './doctor-facts.ts'
import { oneLine } from './one-line.ts'

const DURABLE = ['full', 'extra']

/** The authority itself: whether it answers, and whether what it acks is kept. */
export function authorityFindings({ authority: { url, trouble, told } }: DoctorFacts): Finding[] {
  if (told === undefined) {
    return [
      {
        check: 'control-plane',
        about: url,
        level: 'fail',
        what: trouble?.message ?? 'The control plane was not asked.',
        why: 'Nobody can stop or restore anything from here, and what it would tell is not checked.',
        fix: 'Start it (npx holdpoint start), or say where it is: CONSOLE_URL, with its key in HOLDPOINT_KEY.',
      },
    ]
  }
  return [
    {
      check: 'control-plane',
      about: url,
      level: 'ok',
      what: `Answers in ${milliseconds(told.roundTripMs)}, for org ${told.diagnosis.orgId}${nodesOf(told.diagnosis)}.`,
    },
    clockFinding(url, told),
    durability(url, told.diagnosis),
    decisionLog(url, told.diagnosis),
    ...standing(url, told),
    ...admins(url, told),
    ...stops(url, told),
  ]
}

function nodesOf({ nodes }: DiagnosisBody): string {
  return nodes === 1 ? '' : `; ${nodes} nodes share its store`
}

function durability(about: string, { store }: DiagnosisBody): Finding {
  return store.kind === 'sqlite' ? sqlite(about, store) : postgres(about, store)
}

type Store<Kind> = Extract<DiagnosisBody['store'], { kind: Kind }>

function sqlite(about: string, { kind, version, journalMode, synchronous }: Store<'sqlite'>): Finding {
  const settings = `${kind} ${version}, journal_mode=${journalMode}, synchronous=${synchronous}`
  const found = { check: 'authority-store', about, what: `Its store: ${settings}.` }
  if (DURABLE.includes(synchronous.toLowerCase()) && journalMode.toLowerCase() === 'wal')
    return { ...found, level: 'ok' }
  return {
    ...found,
    level: 'fail',
    why: 'A stop that was acknowledged could be lost in a power cut (G5).',
    fix: 'Let nothing else open control-plane.db or change its settings, then start the control plane again: it sets WAL and synchronous=FULL itself.',
  }
}

/** When a standby is promoted. What needs somebody's care is no fault, and is worth knowing. */
const FAILOVER: Record<Store<'postgres'>['failover']['g1' | 'g5'], string | undefined> = {
  holds: undefined,
  promotion: 'holds across a failover only where a standby is promoted that has confirmed every commit',
  fencing: 'holds across a failover only where the old primary is fenced off',
  no: 'does not hold across a failover',
}

function postgres(about: string, store: Store<'postgres'>): Finding {
  const { version, fsync, fullPageWrites, synchronousCommit, synchronousStandbyNames, consistency } = store
  const { g1, g5 } = store.failover
  const settings = `Postgres ${version}, fsync=${fsync}, synchronous_commit=${synchronousCommit}, synchronous_standby_names='${oneLine(synchronousStandbyNames)}', CONSISTENCY=${consistency}`
  const found = { check: 'authority-store', about, what: `Its store: ${settings}.` }
  if (fsync !== 'on' || fullPageWrites !== 'on') {
    return {
      ...found,
      level: fsync === 'on' ? 'warn' : 'fail',
      why: `With fsync=${fsync} and full_page_writes=${fullPageWrites}, a stop that was acknowledged could be lost in a power cut (G5).`,
      fix: 'Set both on there. Only a file system that never writes half a page, such as ZFS, can do without full_page_writes.',
    }
  }
  const doubts = [
    FAILOVER[g1] && `A fresh permission (G1) ${FAILOVER[g1]}.`,
    FAILOVER[g5] && `A durable stop (G5) ${FAILOVER[g5]}.`,
  ].filter((doubt) => doubt !== undefined)
  if (doubts.length === 0) return { ...found, level: 'ok' }
  return {
    ...found,
    level: 'warn',
    why: doubts.join(' '),
    fix: 'Set synchronous_standby_names so that each standby which may be promoted confirms, and CONSISTENCY=quorum. On one server without standbys there is no failover, and nothing to do.',
  }
}

function decisionLog(about: string, { decisionLog: log }: DiagnosisBody): Finding {
  const what =
    log === 'all'
      ? 'Records every decision.'
      : 'Records denials; allows stand only in the logs of the tool servers.'
  return { check: 'decision-log', about, level: 'ok', what }
}

/** What makes every call fail, before anybody looks elsewhere. */
function standing(about: string, { org, planState, devicesUsed, limit, overdue }: AuthorityFacts): Finding[] {
  const findings: Finding[] = []
  if (org.disabled) {
    const { by, since, reason } = org
    findings.push({
      check: 'org',
      about,
      level: 'warn',
      what: `The whole org is disabled${by === null ? '' : ` by ${by}`}${since === null ? '' : ` since ${since}`}${reason === null ? '' : `: "${oneLine(reason)}"`}.`,
      why: 'Every hold point denies.',
      fix: 'When it is over: holdpoint org enable',
    })
  }
  if (planState === 'frozen' || planState === 'unpaid') {
    findings.push({
      check: 'plan',
      about,
      level: 'fail',
      what: `The plan is ${planState}.`,
      why: 'Every hold point denies with PLAN_NOT_ACTIVE.',
      fix: 'Set a plan, with the platform token: holdpoint org plan',
    })
  }
  if (devicesUsed > limit) {
    findings.push({
      check: 'plan',
      about,
      level: 'fail',
      what: `${devicesUsed} devices are registered, and the plan has room for ${limit}.`,
      why: 'Those above it are denied with DEVICE_OVER_LIMIT.',
      fix: 'Choose a larger plan (holdpoint org plan), or remove devices that are not needed: holdpoint devices rm ID',
    })
  }
  if (overdue > 0) {
    findings.push({
      check: 'overdue',
      about,
      level: 'warn',
      what: `${overdue === 1 ? 'One stop is' : `${overdue} stops are`} past the time somebody wanted to be reminded.`,
      why: 'A stop never ends by itself.',
      fix: 'Look at what is stopped and since when: holdpoint status',
    })
  }
  return findings
}

/** Whoever is locked out of their own org stays so. */
function admins(about: string, { admins: known }: AuthorityFacts): Finding[] {
  if (known === undefined) return []
  const { owners, keyIds } = known
  const keys = keyIds.length === 1 ? 'one admin key' : `${keyIds.length} admin keys`
  const found = {
    check: 'admins',
    about,
    what: `The org has ${keys} and ${owners === 0 ? 'no' : owners} ${owners === 1 ? 'owner' : 'owners'}.`,
  }
  if (owners > 0) return [{ ...found, level: 'ok' }]
  return [
    {
      ...found,
      level: 'warn',
      why: 'Once every admin key is lost or burned, nobody can make keys or enable the org again.',
      fix: 'Say whom recovery mails to: holdpoint org owners --add EMAIL',
    },
  ]
}

function stops(about: string, { unconfirmed }: AuthorityFacts): Finding[] {
  const [newest] = unconfirmed
  if (newest === undefined) {
    return [{ check: 'stops', about, level: 'ok', what: 'No stop waits for its confirmation.' }]
  }
  const many = unconfirmed.length === 1 ? 'One stop is' : `${unconfirmed.length} stops are`
  return [
    {
      check: 'stops',
      about,
      level: 'warn',
      what: `${many} unconfirmed; the newest is ${newest.action} of ${newest.at}.`,
      why: 'Nothing new starts there, but nobody has said that what was running has ended.',
      fix: `See which process was silent: holdpoint stops show ${newest.epoch}`,
    },
  ]
}
