import type { WatchedRun, WatchedStep } from '../agents/hosted/run-watcher.ts'
import { idempotencyKeyOf } from '../guard/effect.ts'
import type { JournalEntry } from '../guard/journal.ts'
import type { RunReport } from '../machineid/run-reports.ts'
import { redact } from '../redact.ts'

export type ReportedRun = RunReport['runs'][number]
export type ReportedStep = RunReport['steps'][number]
export type ReportedEffect = NonNullable<RunReport['unknownEffects']>[number]

const MAX_DETAIL_CHARS = 512

export function reportedRun({ runId, agent, caller, status, code, ...run }: WatchedRun): ReportedRun {
  return {
    runId: fit(runId, 128),
    agent: fit(agent, 256),
    caller: fit(caller, 256),
    status,
    code: code === undefined ? null : fit(code, 64),
    createdAt: isoTime(run.createdAtMs),
    changedAt: isoTime(run.changedAtMs),
  }
}

export function reportedStep({ runId, atMs, type, detail }: WatchedStep, seq: number): ReportedStep {
  return { runId: fit(runId, 128), seq, at: isoTime(atMs), type: fit(type, 64), detail: flat(detail) }
}

export function reportedEffect({ key, effect, kind, tool, ...entry }: JournalEntry): ReportedEffect {
  return {
    id: fit(idempotencyKeyOf(key), 256),
    effect: fit(effect, 256),
    kind: fit(kind, 64),
    tool: fit(tool, 256),
    runId: entry.runId === undefined ? null : fit(entry.runId, 128),
    callId: fit(entry.callId, 512),
    changedAt: isoTime(entry.changedAtMs),
  }
}

/** Texts, numbers, true, false and null: anything that is deeper could be what somebody wrote. */
function flat(detail: WatchedStep['detail']): ReportedStep['detail'] {
  const told: ReportedStep['detail'] = {}
  // A digest of short arguments can be guessed.
  const { digest: _digest, ...rest } = detail
  for (const [name, value] of Object.entries(rest)) {
    if (typeof value === 'string') told[name] = value === '' ? '' : fit(value, MAX_DETAIL_CHARS)
    else if (typeof value === 'boolean' || value === null) told[name] = value
    else if (typeof value === 'number' && Number.isFinite(value)) told[name] = value
  }
  return told
}

/** As the authority stores texts: whole characters, no NUL, not empty. Ids and names of others may be anything. */
function fit(text: string, maxChars: number): string {
  return redact(text).slice(0, maxChars).toWellFormed().replaceAll('\0', '') || '-'
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
