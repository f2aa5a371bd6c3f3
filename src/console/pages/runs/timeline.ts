import type { Output } from '../../api/routes.ts'

type Step = Output<'run'>['steps'][number]

/** One hold point that was entered, and what came of it. */
export interface HoldPoint {
  readonly is: 'hold'
  readonly at: string
  readonly boundary: string
  readonly surface: string | null
  readonly deviceId: string | null
  /** Undefined while it is being asked, or when the process ended before it was told. */
  readonly decision:
    | {
        readonly allowed: boolean
        readonly code: string
        readonly requestId: string | null
        readonly latencyMs: number | null
      }
    | undefined
}
/** Whatever else happened. */
export interface PlainStep {
  readonly is: 'step'
  readonly at: string
  readonly type: string
  readonly detail: Step['detail']
}
export type TimelineEntry = HoldPoint | PlainStep

/** One tool call with all that happened in it, or what belongs to the run itself. */
export interface TimelineGroup {
  /** Null: the run itself. */
  readonly callId: string | null
  readonly tool: string | null
  readonly at: string
  readonly entries: readonly TimelineEntry[]
}

/**
 * The steps of a run, call by call: each call stands where it began, though others went on beside it. A hold point is
 * one entry with its decision.
 */
export function timelineOf(steps: readonly Step[]): TimelineGroup[] {
  const groups: Growing[] = []
  const calls = new Map<string, Growing>()
  const open: GrowingHold[] = []
  for (const step of steps) {
    const callId = textOf(step, 'call_id')
    if (isDecision(step)) {
      const place = placeOf(step)
      const at = open.findIndex((hold) => hold.callId === callId && isAt(hold.entry, place))
      const [held] = at === -1 ? [] : open.splice(at, 1)
      if (held !== undefined) {
        Object.assign(held.entry, { deviceId: place.deviceId, decision: decisionOf(step) })
        continue
      }
    }
    const group = groupFor(callId, step, { groups, calls })
    group.tool ??= textOf(step, 'tool')
    const entry = entryOf(step)
    group.entries.push(entry)
    if (entry.is === 'hold' && entry.decision === undefined) open.push({ callId, entry })
  }
  return groups
}

interface Growing {
  readonly callId: string | null
  tool: string | null
  readonly at: string
  readonly entries: TimelineEntry[]
}
interface GrowingHold {
  readonly callId: string | null
  readonly entry: HoldPoint
}

function groupFor(
  callId: string | null,
  step: Step,
  { groups, calls }: { readonly groups: Growing[]; readonly calls: Map<string, Growing> },
): Growing {
  const last = groups.at(-1)
  const known = callId === null ? (last?.callId === null ? last : undefined) : calls.get(callId)
  if (known !== undefined) return known
  const group: Growing = { callId, tool: null, at: step.at, entries: [] }
  groups.push(group)
  if (callId !== null) calls.set(callId, group)
  return group
}

function entryOf(step: Step): TimelineEntry {
  const { at, type, detail } = step
  if (type === 'held') return { is: 'hold', at, ...placeOf(step), decision: undefined }
  if (isDecision(step)) return { is: 'hold', at, ...placeOf(step), decision: decisionOf(step) }
  return { is: 'step', at, type, detail }
}

function isDecision({ type }: Step): boolean {
  return type === 'allowed' || type === 'denied'
}

function isAt(hold: HoldPoint, place: ReturnType<typeof placeOf>): boolean {
  return hold.boundary === place.boundary && hold.surface === place.surface
}

function placeOf(step: Step) {
  return {
    boundary: textOf(step, 'boundary') ?? 'unknown',
    surface: textOf(step, 'surface'),
    deviceId: textOf(step, 'device_id'),
  }
}

function decisionOf(step: Step): NonNullable<HoldPoint['decision']> {
  const latency = step.detail['latency_ms']
  return {
    allowed: step.type === 'allowed',
    code: textOf(step, 'code') ?? (step.type === 'allowed' ? 'ALLOW' : 'DENIED'),
    requestId: textOf(step, 'request_id'),
    latencyMs: typeof latency === 'number' ? latency : null,
  }
}

function textOf({ detail }: Pick<Step, 'detail'>, name: string): string | null {
  const value = Object.hasOwn(detail, name) ? detail[name] : null
  return typeof value === 'string' ? value : null
}

/** What a step is, in words; what is not known stands as it was told. */
export function stepWords(type: string): string {
  return Object.hasOwn(STEP_WORDS, type) ? (STEP_WORDS[type] ?? type) : type
}
const STEP_WORDS: Readonly<Record<string, string>> = {
  run_started: 'The run started',
  run_resumed: 'The run went on',
  run_ended: 'The run paused or ended',
  tool_called: 'The model asked for the call',
  tool_output: 'The call was answered',
  approval_asked: 'A person was asked to approve it',
}

/** Whether more may happen in a run by itself. */
export function isLive(status: string): boolean {
  return status === 'running' || status === 'queued' || status === 'interrupted'
}

export const RUN_LOOKS: Readonly<Record<string, 'good' | 'bad' | 'warn' | 'quiet'>> = {
  completed: 'good',
  denied: 'bad',
  failed: 'bad',
  interrupted: 'warn',
  running: 'quiet',
  queued: 'quiet',
  cancelled: 'quiet',
}
