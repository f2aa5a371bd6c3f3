import type { InspectBody } from '../tool-server-wire.ts'
import {
  clockFinding,
  milliseconds,
  type DoctorFacts,
  type Finding,
  type ToolServerFacts,
} from './doctor-facts.ts'
import { latency } from './doctor-replicas.ts'

/** Effects that nobody wants twice. */
const COSTLY = ['payment', 'transfer']
/** Of SQLite; `on` and `remote_apply` of Postgres. */
const DURABLE = ['full', 'extra', 'on', 'remote_apply']

/** One tool server: what it would do, and what it would do wrong. */
export function toolServerFindings(server: ToolServerFacts, authority: DoctorFacts['authority']): Finding[] {
  const { url, unreachable, refused, told } = server
  if (unreachable !== undefined) {
    return [
      {
        check: 'tool-server',
        about: url,
        level: 'fail',
        what: unreachable.message,
        why: 'What it does and how it is set up cannot be checked.',
        fix: 'Start it (npx holdpoint start), or say where it is: --tool-server URL, or TOOL_SERVER_URL.',
      },
    ]
  }
  if (told === undefined) {
    return [
      {
        check: 'tool-server',
        about: url,
        level: 'fail',
        what: refused?.message ?? 'It did not say how it is set up.',
        why: 'Its tools, effects and journal are not checked.',
        fix: 'Give the token of a caller with the scope runs:approve in HOLDPOINT_TOKEN.',
      },
    ]
  }
  const { inspect } = told
  return [
    {
      check: 'tool-server',
      about: url,
      level: 'ok',
      what: `Answers in ${milliseconds(told.roundTripMs)}, as ${inspect.replica}.`,
    },
    clockFinding(url, told),
    profile(url, inspect),
    ...asks(url, inspect, authority),
    ...pushed(url, inspect),
    ...(isKnown(inspect, authority) ? [] : latency(url, inspect.timeoutMs, inspect.latencyMs)),
    ...unguarded(url, inspect),
    ...eachCall(url, inspect),
    journal(url, inspect),
    ...unknownOutcomes(url, inspect),
  ]
}

/** `latency` and the stream of a replica that the authority knows were looked at there. */
function isKnown({ replica }: InspectBody, { told }: DoctorFacts['authority']): boolean {
  return told?.replicas.some((known) => known.replica === replica) === true
}

function profile(about: string, { profile: name }: InspectBody): Finding {
  const found = { check: 'profile', about, what: `Asks by the profile ${name}.` }
  if (name === 'holdpoint') return { ...found, level: 'ok' }
  return {
    ...found,
    level: 'warn',
    why: 'Only the profile holdpoint checks that each answer is fresh, for this org and question; with another, G1 and G2 rest on the service.',
    fix: 'Use your own control plane: MACHINEID_BASE_URL with MACHINEID_PROFILE=holdpoint. Otherwise stop with revoke, never with remove.',
  }
}

/** Whether it asks the authority at which a stop would be made. */
function asks(about: string, inspect: InspectBody, authority: DoctorFacts['authority']): Finding[] {
  const { origin, answered, code } = inspect.authority
  const whom = origin ?? 'its authority'
  if (answered === false) {
    return [
      {
        check: 'authority',
        about,
        level: 'fail',
        what: `It asks ${whom} and got no usable answer: ${code ?? 'unknown'}.`,
        why: 'Every hold point denies until it does.',
        fix: `What to do about it: holdpoint explain local --code ${code ?? 'CODE'}`,
      },
    ]
  }
  if (inspect.profile === 'holdpoint' && authority.told !== undefined && !isKnown(inspect, authority)) {
    return [
      {
        check: 'authority',
        about,
        level: 'fail',
        what: `It asks ${whom}, and ${authority.url} does not know it as one of this org’s.`,
        why: 'A stop made here would not reach it.',
        fix: 'Compare MACHINEID_BASE_URL and the key of the tool server with CONSOLE_URL and HOLDPOINT_KEY here: they must be of one control plane and one org.',
      },
    ]
  }
  return [
    {
      check: 'authority',
      about,
      level: 'ok',
      what: `It asks ${whom}${answered === null ? ', and has not yet' : ''}.`,
    },
  ]
}

function pushed(about: string, { stopStream }: InspectBody): Finding[] {
  const { state, reason } = stopStream
  if (state === 'up') return []
  const because = reason === null ? '' : ` (${reason})`
  return [
    {
      check: 'stop-stream',
      about,
      level: 'warn',
      what:
        state === 'off' ? `Stops are not pushed to it${because}.` : `Its stream of stops is down${because}.`,
      why: 'A stop reaches it at its next hold point: what runs meanwhile goes on, and nothing is confirmed.',
      fix:
        state === 'off'
          ? 'Hosted MachineID has no stream; the control plane of holdpoint has.'
          : 'It comes back by itself. If it does not: let streams through between it and the control plane.',
    },
  ]
}

function unguarded(about: string, { tools }: InspectBody): Finding[] {
  const bare = tools.filter(({ guarded }) => !guarded)
  if (bare.length === 0) {
    return [
      {
        check: 'unguarded',
        about,
        level: 'ok',
        what: `All of its ${new Set(tools.map(({ name }) => name)).size} tools are guarded.`,
      },
    ]
  }
  return bare.map(({ name, agent }) => ({
    check: 'unguarded',
    about,
    level: 'warn',
    what: `The tool ${name}${agent === null ? '' : ` of the agent ${agent}`} is not guarded.`,
    why: 'It has no hold point: no stop reaches it.',
    fix: 'Make it with guardedTool, or gate it with guardTool(tool, surface).',
  }))
}

function eachCall(about: string, { tools }: InspectBody): Finding[] {
  // A tool that several agents have is one tool.
  const effects = new Map(
    tools.flatMap(({ name, effects }) =>
      effects
        .filter(({ key }) => key === 'each-call')
        .map((effect) => [`${name}.${effect.name}`, { name, effect }]),
    ),
  )
  const costly = [...effects.values()].filter(({ effect }) => COSTLY.includes(effect.kind))
  const others = [...effects.values()].filter(({ effect }) => !COSTLY.includes(effect.kind))
  const findings: Finding[] = costly.map(({ name, effect }) => ({
    check: 'business-key',
    about,
    level: 'warn',
    what: `The ${effect.kind} of the tool ${name} has no business key (each-call).`,
    why: 'Asked for again under a new call id, the same one is made twice.',
    fix: 'Give it a key of what it is about, for example: key: ({ invoiceId }) => invoiceId',
  }))
  if (others.length > 0) {
    const names = [...new Set(others.map(({ name, effect }) => `${name} (${effect.kind})`))].join(', ')
    findings.push({
      check: 'business-key',
      about,
      level: 'ok',
      what: `Without a business key, so a new call is a new effect: ${names}.`,
    })
  }
  return findings
}

function journal(about: string, { journal: { kind, journalMode, synchronous } }: InspectBody): Finding {
  const found = { check: 'journal', about }
  if (kind === 'memory') {
    return {
      ...found,
      level: 'warn',
      what: 'Its journal is in memory.',
      why: 'After a crash nobody knows which effects happened, and they could be made again.',
      fix: 'Use the journal that startGuard opens, createSqliteToolStore or createPostgresToolStore.',
    }
  }
  const settings = [
    kind,
    journalMode && `journal_mode=${journalMode}`,
    synchronous && `${isPostgres(kind) ? 'synchronous_commit' : 'synchronous'}=${synchronous}`,
  ]
  const what = `Its journal: ${settings.filter(Boolean).join(', ')}.`
  if (synchronous === null || DURABLE.includes(synchronous.toLowerCase()))
    return { ...found, level: 'ok', what }
  return {
    ...found,
    level: 'fail',
    what,
    why: 'An intent could be lost in a power cut while its effect happened (G8).',
    fix: isPostgres(kind)
      ? 'Set fsync=on there. A pooler in between must keep the options of a connection.'
      : 'Open the journal through holdpoint only: it sets synchronous=FULL itself.',
  }
}

/** `postgres 18.4`, for example. */
function isPostgres(kind: string): boolean {
  return kind.startsWith('postgres')
}

function unknownOutcomes(
  about: string,
  { journal: { kind, unknownOutcomes: count } }: InspectBody,
): Finding[] {
  if (count === null) {
    return [
      {
        check: 'unknown-outcomes',
        about,
        level: 'fail',
        what: 'Its journal cannot be read.',
        why: 'Without its journal it carries nothing out (JOURNAL_UNAVAILABLE).',
        fix: isPostgres(kind)
          ? 'Look at its log, and at the Postgres of its TOOL_DATABASE_URL.'
          : 'Look at the disk and at journal.sqlite under its DATA_DIR.',
      },
    ]
  }
  if (count === 0)
    return [{ check: 'unknown-outcomes', about, level: 'ok', what: 'Every effect has a known outcome.' }]
  return [
    {
      check: 'unknown-outcomes',
      about,
      level: 'warn',
      what: `Of ${count === 1 ? 'one effect' : `${count} effects`} nobody knows whether it happened.`,
      why: 'They are never made again by themselves; whoever asks for the same one is told outcome_unknown.',
      fix: 'See which: GET /runs?outcome=unknown, find out at the other side, then settle each: POST /effects/:id/settle',
    },
  ]
}
