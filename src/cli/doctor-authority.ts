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
        fix: 'Start it (npm start), or say where it is: CONSOLE_URL, with its key in HOLDPOINT_KEY.',
      },
    ]
  }
  return [
    {
      check: 'control-plane',
      about: url,
      level: 'ok',
      what: `Answers in ${milliseconds(told.roundTripMs)}, for org ${told.diagnosis.orgId}.`,
    },
    clockFinding(url, told),
    durability(url, told.diagnosis),
    decisionLog(url, told.diagnosis),
    ...standing(url, told),
    ...stops(url, told),
  ]
}

function durability(about: string, { store }: DiagnosisBody): Finding {
  const { kind, version, journalMode, synchronous } = store
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
