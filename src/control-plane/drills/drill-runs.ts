import type { z } from 'zod'

import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { DrillRunBody, DrillRunRequest } from '../../machineid/wire-drills.ts'
import { redact } from '../../redact.ts'
import { MAY_MANAGE } from '../key-kinds.ts'
import type { AuditRow } from '../records.ts'
import { Refusal, wrongKind } from '../refusal.ts'
import type { Caller } from '../service.ts'
import type { ControlPlaneStore } from '../store.ts'
import { isoOrNull } from '../times.ts'
import type { DrillKeyService } from './drill-keys.ts'

/** Far more than the longest drill takes. The key outlives it, so that what is stopped can still be restored. */
const MAX_RUN_MS = 12 * 60_000
const KEY_LIFE_MS = 15 * 60_000
const MAX_LINES = 200
const MAX_LINE_CHARACTERS = 500

export type DrillAsked = z.infer<typeof DrillRunRequest>

/** How a drill is run. The control plane itself knows no tool server. */
export interface DrillRunner {
  /** The org whose devices the tool servers are. To any other it is as if there were none. */
  readonly orgId: string
  /** One drill, to its end. Rejects when it cannot begin. */
  readonly run: (drill: {
    readonly asked: DrillAsked
    /** To ask the control plane with, for this drill alone. */
    readonly key: string
    readonly controlPlaneUrl: string
    /** Told what it says of itself, line by line. */
    readonly onLine: (line: string) => void
    /** Aborted when it is to restore what it has stopped and end; if that takes long, it is killed. */
    readonly signal: AbortSignal
  }) => Promise<'held' | 'not_held' | 'failed'>
}

export interface DrillRuns {
  /** The last one that was started here. */
  readonly of: (orgId: string) => DrillRunBody
  /** Throws `DRILLS_NOT_CONFIGURED`, `DRILL_RUNNING`, `INSUFFICIENT_SCOPE`. */
  readonly start: (caller: Caller, orgId: string, asked: DrillAsked) => Promise<DrillRunBody>
  /** Told of every change after COMMIT. */
  readonly committed: (rows: readonly AuditRow[]) => void
  /** Ends the one that runs, and starts none. */
  readonly close: () => Promise<void>
}

export interface DrillRunsOptions {
  readonly runner: DrillRunner | undefined
  readonly keys: DrillKeyService
  readonly store: Pick<ControlPlaneStore, 'findDrill'>
  readonly nowMs: () => number
  /** Of this control plane, as this machine sees it. */
  readonly url: () => string
  readonly log: Logger
}

interface Run {
  state: DrillRunBody['state']
  readonly startedAtMs: number
  endedAtMs: number | null
  readonly by: string
  readonly keyId: string
  drillId: string | null
  readonly lines: string[]
}

const NONE = { startedAt: null, endedAt: null, by: null, drillId: null, lines: [] }

/** One drill at a time: a second one would stop and restore what the first one measures. */
export function createDrillRuns(options: DrillRunsOptions): DrillRuns {
  const { runner, keys, store, nowMs, url, log } = options
  const closing = new AbortController()
  let last: Run | undefined
  let running: Promise<void> | undefined

  const drill = async (runner: DrillRunner, run: Run, asked: DrillAsked, issued: Issued) => {
    const { orgId } = runner
    let end: 'held' | 'not_held' | 'failed' = 'failed'
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(MAX_RUN_MS)])
      const onLine = (line: string) => addLine(run, line)
      end = await runner.run({ asked, key: issued.key, controlPlaneUrl: url(), onLine, signal })
    } catch (error) {
      addLine(run, messageOf(error))
    }
    try {
      await keys.endDrillKey(orgId, issued.keyId)
      if (run.drillId !== null && (await store.findDrill(orgId, run.drillId)) === undefined)
        run.drillId = null
    } catch (error) {
      // The key ends by itself.
      log.error({ reason: messageOf(error) }, 'the key of a drill could not be ended')
    }
    run.state = end
    run.endedAtMs = nowMs()
    running = undefined
  }

  const refusalOf = (caller: Caller, orgId: string, { org }: DrillAsked): Refusal | undefined => {
    if (runner?.orgId !== orgId) return notConfigured()
    if (org === true && !MAY_MANAGE.some((kind) => kind === caller.kind))
      return wrongKind(caller.kind, MAY_MANAGE)
    if (running !== undefined) return alreadyRunning()
    return closing.signal.aborted
      ? new Refusal('OVERLOADED', 'This control plane is being stopped.')
      : undefined
  }

  const start: DrillRuns['start'] = async (caller, orgId, asked) => {
    const refused = refusalOf(caller, orgId, asked)
    const startedAtMs = nowMs()
    const ended = Promise.withResolvers<void>()
    // From here on no other one begins.
    if (refused === undefined) running = ended.promise
    try {
      const kind = asked.org === true ? 'admin' : 'operator'
      const wanted = { kind, endsAtMs: startedAtMs + KEY_LIFE_MS, asked, refused } as const
      const issued = await keys.issueDrillKey(caller, orgId, wanted)
      if (runner === undefined) throw notConfigured()
      const by = `${caller.kind}:${caller.actor}`
      const { keyId } = issued
      const run: Run = { state: 'running', startedAtMs, endedAtMs: null, by, keyId, drillId: null, lines: [] }
      last = run
      void drill(runner, run, asked, issued).then(ended.resolve)
      return bodyOf(run)
    } catch (error) {
      if (refused === undefined) running = undefined
      ended.resolve()
      throw error
    }
  }

  const bodyFor = (orgId: string): DrillRunBody => {
    if (runner?.orgId !== orgId) return { state: 'off', ...NONE }
    return last === undefined ? { state: 'idle', ...NONE } : bodyOf(last)
  }

  return {
    of: bodyFor,
    start,
    committed: (rows) => {
      if (last?.state !== 'running') return
      // The key is of this drill alone: what it stores is its report.
      const stored = rows.find(({ action, actor }) => action === 'drill.store' && actor === last?.keyId)
      if (stored !== undefined) last.drillId = String((stored.after as { drillId?: unknown }).drillId)
    },
    close: async () => {
      closing.abort()
      await running
    },
  }
}

interface Issued {
  readonly key: string
  readonly keyId: string
}

/** What a tool server calls itself may be anything: nothing of it may steer whatever shows it. */
function addLine({ lines }: Run, text: string): void {
  const line = redact(text).replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, ' ')
  lines.push(line.slice(0, MAX_LINE_CHARACTERS).toWellFormed())
  if (lines.length > MAX_LINES) lines.shift()
}

function bodyOf({ state, startedAtMs, endedAtMs, by, drillId, lines }: Run): DrillRunBody {
  return {
    state,
    startedAt: isoOrNull(startedAtMs),
    endedAt: isoOrNull(endedAtMs),
    by,
    drillId: state === 'running' ? null : drillId,
    lines: [...lines],
  }
}

function notConfigured(): Refusal {
  return new Refusal(
    'DRILLS_NOT_CONFIGURED',
    'This control plane was not told of tool servers of this org, so it can run no drill. Set DRILL_TOOL_SERVER_URL and ' +
      'DRILL_TOKEN and start it anew, or run one from elsewhere: npx holdpoint drill.',
  )
}

function alreadyRunning(): Refusal {
  return new Refusal(
    'DRILL_RUNNING',
    'A drill is running already, and two would measure each other. Wait for its end: GET /api/v1/drills/run.',
  )
}
