import type { FEED_TYPES, FeedEventBody } from '../machineid/wire-evidence.ts'
import { auditBody, decisionBody } from './evidence-rows.ts'
import { matchesDevicePattern } from '../device-patterns.ts'
import type { AuditRow, DecisionRecord } from './records.ts'
import type { OverdueStop } from './store.ts'

export type FeedType = (typeof FEED_TYPES)[number]

/** All that are given must fit. Only decisions have a code and a boundary, and are allowed or not. */
export interface FeedFilter {
  /** Default: all. */
  readonly types?: ReadonlySet<FeedType> | undefined
  /** A device ID or pattern. What is about no device fits none. */
  readonly device?: string | undefined
  readonly code?: string | undefined
  readonly boundary?: string | undefined
  readonly allowed?: boolean | undefined
}

export interface FeedEntry {
  /** Undefined for what is stored nowhere. */
  readonly id: string | undefined
  readonly event: FeedEventBody
  /** As the event stream has it. Made once, for whoever reads it first. */
  readonly text: () => string
}

export function fits(filter: FeedFilter, event: FeedEventBody): boolean {
  const { types, device, code, boundary, allowed } = filter
  if (event.type === 'missed') return true
  if (types?.has(event.type) === false) return false
  if (device !== undefined && !isAbout(event, device)) return false
  const given = event.type === 'decision' ? event.decision : NOT_A_DECISION
  return (
    (code ?? given.code) === given.code &&
    (boundary ?? given.boundary) === given.boundary &&
    (allowed ?? given.allowed) === given.allowed
  )
}

const NOT_A_DECISION = { code: undefined, boundary: undefined, allowed: undefined }

/** A lock is about a device or pattern when either covers the other. */
function isAbout(event: Exclude<FeedEventBody, { type: 'missed' }>, device: string): boolean {
  const { deviceId, pattern } = subjectOf(event)
  if (deviceId !== null) return matchesDevicePattern(device, deviceId)
  if (pattern === null) return false
  return matchesDevicePattern(device, pattern) || matchesDevicePattern(pattern, device)
}

function subjectOf(event: Exclude<FeedEventBody, { type: 'missed' }>): {
  readonly deviceId: string | null
  readonly pattern: string | null
} {
  switch (event.type) {
    case 'decision':
      return { deviceId: event.decision.deviceId, pattern: null }
    case 'overdue':
      return event
    case 'change': {
      const { pattern } = (event.row.after ?? {}) as { readonly pattern?: unknown }
      return { deviceId: event.row.deviceId, pattern: typeof pattern === 'string' ? pattern : null }
    }
  }
}

export function changeEntry(row: AuditRow): FeedEntry {
  return entry(row.id, { type: 'change', row: auditBody(row) })
}

/** The devices of one question share its id. */
export function decisionEntry(record: DecisionRecord): FeedEntry {
  return entry(`${record.requestId}.${record.ordinal}`, { type: 'decision', decision: decisionBody(record) })
}

export function overdueEntry({ deviceId, lock, reason, epoch, remindAtMs }: OverdueStop): FeedEntry {
  return entry(undefined, {
    type: 'overdue',
    deviceId: deviceId ?? null,
    lockId: lock?.lockId ?? null,
    pattern: lock?.pattern ?? null,
    reason,
    epoch,
    remindAt: new Date(remindAtMs).toISOString(),
  })
}

export function entry(id: string | undefined, event: FeedEventBody): FeedEntry {
  let text: string | undefined
  const head = id === undefined ? '' : `id: ${id}\n`
  return {
    id,
    event,
    text: () => (text ??= `${head}event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`),
  }
}
