import { setImmediate as nextTurn } from 'node:timers/promises'

import type { RunReportBody } from '../../machineid/wire-runs.ts'
import { redact } from '../../redact.ts'
import { keyProblem } from '../keys.ts'
import { endedKey, invalidKey, Refusal } from '../refusal.ts'
import type { ServiceContext } from '../service.ts'
import { mayTellFor } from './run-owner.ts'
import type { ReportedEffectRecord, ReportedRunRecord, RunReport, StepDetail } from './run-report-store.ts'

/** How long a replica's unknown effects are shown after its last sign of life. */
export const HEARD_MS = 86_400_000
/** Reports that wait for the disk. */
const MAX_WAITING = 200
const RETRY_AFTER_SECONDS = 2
const MAX_EFFECTS = 1000
/** Of the details of one step, as JSON. */
const MAX_DETAIL_LENGTH = 4096

export interface RunReportService {
  /** Keeps what a tool server says of its runs. Throws `RATE_LIMITED` when more comes than the disk takes. */
  readonly reportRuns: (orgId: string, keyId: string, report: RunReportBody) => Promise<void>
  readonly findReportedRun: (
    orgId: string,
    runId: string,
  ) => ReturnType<ServiceContext['store']['findReportedRun']>
  readonly listReportedRuns: (
    orgId: string,
    filter: { readonly status?: string | undefined; readonly agent?: string | undefined },
    page: Parameters<ServiceContext['store']['listReportedRuns']>[2],
  ) => Promise<readonly ReportedRunRecord[]>
  readonly listUnknownEffects: (orgId: string) => Promise<readonly ReportedEffectRecord[]>
}

export function createRunReportService({ store, nowMs }: ServiceContext): RunReportService {
  let turns: Promise<unknown> = Promise.resolve()
  let waiting = 0

  /** G6: the key may have been burned since it was looked up. */
  const liveKey = async (keyId: string) => {
    const key = await store.findKey(keyId)
    if (key === undefined) throw invalidKey()
    const problem = keyProblem(key, nowMs())
    if (problem !== undefined) throw endedKey(problem)
    return key
  }
  const record = async (orgId: string, keyId: string, report: RunReportBody) => {
    // Stops go first.
    await nextTurn()
    const key = await liveKey(keyId)
    const told = storable(report)
    const runIds = [...told.runs, ...told.steps].map(({ runId }) => runId)
    const owners = await store.runOwners(orgId, {
      runIds: [...new Set(runIds)],
      replica: told.replica,
    })
    const mine = [keyId]
    for (const ownerId of owners) {
      const owner = ownerId === keyId ? undefined : await store.findKey(ownerId)
      if (owner !== undefined && (await mayTellFor(store, key, owner, nowMs()))) mine.push(ownerId)
    }
    await store.recordRuns({ ...told, orgId, keyId, atMs: nowMs(), ownerKeyIds: mine })
  }

  return {
    reportRuns: async (orgId, keyId, report) => {
      if (waiting >= MAX_WAITING) throw tooFast()
      waiting++
      const recorded = turns.then(() => record(orgId, keyId, report))
      turns = recorded.catch(() => undefined)
      await recorded.finally(() => waiting--)
    },
    findReportedRun: (orgId, runId) => store.findReportedRun(orgId, redact(runId)),
    listReportedRuns: (orgId, { status, agent }, page) =>
      store.listReportedRuns(orgId, { status, agent: agent === undefined ? undefined : redact(agent) }, page),
    listUnknownEffects: (orgId) => store.listUnknownEffects(orgId, nowMs() - HEARD_MS, MAX_EFFECTS),
  }
}

function tooFast(): Refusal {
  return new Refusal(
    'RATE_LIMITED',
    `More is told of runs than can be stored. Nothing of this report was: tell it again after ${RETRY_AFTER_SECONDS} s.`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
  )
}

/** What callers say of themselves is kept, and shown: never a key that slipped in. */
function storable({
  replica,
  runs,
  steps,
  unknownEffects,
}: RunReportBody): Pick<RunReport, 'replica' | 'runs' | 'steps' | 'unknownEffects'> {
  return {
    replica: redact(replica),
    runs: runs.map(({ runId, agent, caller, status, code, createdAt, changedAt }) => ({
      runId: redact(runId),
      agent: redact(agent),
      caller: redact(caller),
      status: redact(status),
      code: redactOrNull(code),
      createdAtMs: Date.parse(createdAt),
      changedAtMs: Date.parse(changedAt),
    })),
    steps: steps.map(({ runId, seq, at, type, detail }) => ({
      runId: redact(runId),
      seq,
      atMs: Date.parse(at),
      type: redact(type),
      detail: storableDetail(detail),
    })),
    unknownEffects: unknownEffects?.map(({ id, effect, kind, tool, runId, callId, changedAt }) => ({
      id: redact(id),
      effect: redact(effect),
      kind: redact(kind),
      tool: redact(tool),
      runId: redactOrNull(runId),
      callId: redactOrNull(callId),
      changedAtMs: Date.parse(changedAt),
    })),
  }
}

/** As many of its members as there is room for. */
function storableDetail(detail: StepDetail): StepDetail {
  const kept: [string, StepDetail[string]][] = []
  let length = 0
  for (const [name, value] of Object.entries(detail)) {
    const clean = typeof value === 'string' ? redact(value) : value
    length += JSON.stringify([name, clean]).length
    if (length > MAX_DETAIL_LENGTH) break
    kept.push([redact(name), clean])
  }
  return Object.fromEntries(kept)
}

function redactOrNull(text: string | null): string | null {
  return text === null ? null : redact(text)
}
