import type { Boundary, DenialCode } from '../guard/decision.ts'
import { localCode } from '../local-codes.ts'

/** What an alert is about: a denial, an authority without an answer, an effect of which nobody knows. */
export type AlertKind = 'denied' | 'authority_unavailable' | 'outcome_unknown'

/** What happened once: a denial, or an effect whose outcome is not known. */
export interface Incident {
  readonly kind: AlertKind
  readonly serverDeviceId: string
  readonly deviceId: string
  readonly code: DenialCode
  readonly boundary: Boundary
  readonly requestId: string
  readonly tool: string | undefined
  /** Of an unknown outcome. */
  readonly effect?: string
  readonly idempotencyKey?: string | undefined
}

/** What happened again and again for one reason. `last` is the latest of it. */
export interface Tally {
  /** The same for the same kind, device and code, or effect. */
  readonly id: string
  readonly last: Incident
  readonly count: number
  readonly firstWallMs: number
  readonly lastWallMs: number
  readonly idempotencyKeys: ReadonlySet<string>
}

/** `firing` when it begins and while it goes on, `resolved` when it is over. */
export type AlertStatus = 'firing' | 'resolved'

/** What the sink gets. Names as on the wire. */
export interface AlertBody {
  readonly type: `holdpoint.${AlertKind}`
  /** When it was told, as ISO 8601. */
  readonly timestamp: string
  readonly data: AlertData
}

/** What an alert tells. Times are in ISO 8601. */
export interface AlertData {
  readonly status: AlertStatus
  /** What all alerts about one thing share, from the first `firing` to `resolved`. */
  readonly cause: string
  /** One sentence. */
  readonly summary: string
  /** The command to type next. */
  readonly next: string
  /** What the code means and what to do, where the guard itself knows. */
  readonly advice: string | null
  /** How often since `first_at`. */
  readonly count: number
  readonly first_at: string
  readonly last_at: string
  readonly server_device_id: string
  readonly device_id: string
  /** Of the latest: code, request, boundary and tool. */
  readonly code: string
  readonly request_id: string
  readonly boundary: string
  readonly tool: string | null
  /** Of an unknown outcome: the effect, and what it is known by at the other side, at most 20. */
  readonly effect: string | null
  readonly idempotency_keys: readonly string[]
  /** Alerts before this one that the sink never got. */
  readonly dropped: number
}

export function alertBody(status: AlertStatus, tally: Tally, told: Told): AlertBody {
  const { id, last, count, firstWallMs, lastWallMs, idempotencyKeys } = tally
  const { kind, code, requestId, boundary, tool, effect, serverDeviceId, deviceId } = last
  const known = localCode(code)
  return {
    type: `holdpoint.${kind}`,
    timestamp: iso(told.wallMs),
    data: {
      status,
      cause: id,
      summary: `${SUMMARIES[kind][status](last)} ${timesOf(tally)}`,
      next: nextOf(status, last),
      advice: status === 'firing' && known !== undefined ? `${known.means} ${known.todo}` : null,
      count,
      first_at: iso(firstWallMs),
      last_at: iso(lastWallMs),
      server_device_id: serverDeviceId,
      device_id: deviceId,
      code,
      request_id: requestId,
      boundary,
      tool: tool ?? null,
      effect: effect ?? null,
      idempotency_keys: [...idempotencyKeys],
      dropped: told.dropped,
    },
  }
}

interface Told {
  readonly wallMs: number
  readonly dropped: number
}

const iso = (wallMs: number): string => new Date(wallMs).toISOString()

function timesOf({ count, firstWallMs }: Tally): string {
  return count === 1 ? 'Seen once.' : `Seen ${count} times since ${iso(firstWallMs)}.`
}

type Sentence = (last: Incident) => string
const at = ({ boundary, tool }: Incident) => (tool === undefined ? boundary : `${boundary} of ${tool}`)
const unknownOutcome: Sentence = ({ effect, tool }) =>
  `Nobody knows whether effect ${effect} of ${tool} happened; it is not repeated blindly.`

const SUMMARIES: Record<AlertKind, Record<AlertStatus, Sentence>> = {
  denied: {
    firing: (last) => `${last.deviceId} is denied ${last.code} at ${at(last)}.`,
    resolved: ({ deviceId, code }) => `${deviceId} is allowed again, after ${code}.`,
  },
  authority_unavailable: {
    firing: ({ serverDeviceId, code }) =>
      `${serverDeviceId} cannot ask for permission (${code}), so nothing starts there.`,
    resolved: ({ serverDeviceId, code }) => `${serverDeviceId} can ask for permission again, after ${code}.`,
  },
  outcome_unknown: { firing: unknownOutcome, resolved: unknownOutcome },
}

function nextOf(status: AlertStatus, { kind, code, requestId }: Incident): string {
  if (status === 'resolved') return 'holdpoint status'
  if (kind !== 'denied') return 'holdpoint doctor'
  return `holdpoint explain ${requestId}${localCode(code) === undefined ? '' : ` --code ${code}`}`
}
