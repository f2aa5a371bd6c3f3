import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'

import type { z } from 'zod'

import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { DrillRunBody, DrillRunRequest } from '../../machineid/wire-drills.ts'
import { redact } from '../../redact.ts'
import { MAY_MANAGE } from '../key-kinds.ts'
import type { DrillRunStore } from '../nodes/node-store.ts'
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
  /** The last one that was started, on whichever node. */
  readonly of: (orgId: string) => Promise<DrillRunBody>
  /** Throws `DRILLS_NOT_CONFIGURED`, `DRILL_RUNNING`, `INSUFFICIENT_SCOPE`. */
  readonly start: (caller: Caller, orgId: string, asked: DrillAsked) => Promise<DrillRunBody>
  /** Ends the one that runs, and starts none. */
  readonly close: () => Promise<void>
}

export interface DrillRunsOptions {
  readonly runner: DrillRunner | undefined
  readonly keys: DrillKeyService
  /** What all nodes know of drills that run. */
  readonly runs: DrillRunStore
  readonly store: Pick<ControlPlaneStore, 'findDrill' | 'findAudit'>
  readonly nowMs: () => number
  /** Of this control plane, as this machine sees it. */
  readonly url: () => string
  readonly log: Logger
}

interface Run {
  readonly runId: string
  state: DrillRunBody['state']
  readonly startedAtMs: number
  endedAtMs: number | null
  readonly by: string
  drillId: string | null
  readonly lines: string[]
}

/** How often other nodes are told how it goes on, and how often its end is tried to be told. */
const TELL_EVERY_MS = 1000
const TELL_END_TIMES = 10
/** How many drills may have been stored since by others, to look through. */
const MAX_LOOKED = 20

const NONE = { startedAt: null, endedAt: null, by: null, drillId: null, lines: [] }

/** One drill at a time, over all nodes: a second one would stop and restore what the first one measures. */
export function createDrillRuns(options: DrillRunsOptions): DrillRuns {
  const { runner, keys, runs, store, nowMs, url, log } = options
  const closing = new AbortController()
  /** The one that runs on this node. */
  let current: Run | undefined
  let running: Promise<void> | undefined

  /** Aborts when others believe that it is over: another one may run by then. */
  const tellOn = async (orgId: string, run: Run, lost: AbortController): Promise<void> => {
    while (run.state === 'running' && !lost.signal.aborted) {
      const isOurs = await runs.tellDrillRun(orgId, run.runId, bodyOf(run)).catch(() => true)
      if (!isOurs) {
        addLine(run, 'Nothing was heard of this node for too long: others count this drill as failed.')
        lost.abort()
      }
      await delay(TELL_EVERY_MS, undefined, { ref: false })
    }
  }
  const tellEnd = async (orgId: string, run: Run): Promise<void> => {
    for (let times = 1; ; times++) {
      try {
        return void (await runs.tellDrillRun(orgId, run.runId, bodyOf(run)))
      } catch (error) {
        if (times < TELL_END_TIMES && !closing.signal.aborted) {
          await delay(TELL_EVERY_MS, undefined, { ref: false })
          continue
        }
        return log.error({ reason: messageOf(error) }, 'the end of a drill could not be stored')
      }
    }
  }
  /** The key is of this drill alone: what it stored is its report. */
  const storedBy = async (orgId: string, keyId: string): Promise<string | null> => {
    let beforeSeq: number | undefined
    for (let looked = 0; looked < MAX_LOOKED; looked++) {
      const wanted = { actions: ['drill.store'], untilMs: Number.MAX_SAFE_INTEGER, beforeSeq }
      const row = await store.findAudit(orgId, wanted)
      if (row?.actor === keyId) {
        const drillId = String((row.after as { drillId?: unknown }).drillId)
        return (await store.findDrill(orgId, drillId)) === undefined ? null : drillId
      }
      if (row === undefined) return null
      beforeSeq = row.seq
    }
    return null
  }

  const drill = async (runner: DrillRunner, run: Run, asked: DrillAsked, issued: Issued) => {
    const { orgId } = runner
    const lost = new AbortController()
    void tellOn(orgId, run, lost)
    let end: 'held' | 'not_held' | 'failed' = 'failed'
    try {
      const signal = AbortSignal.any([closing.signal, lost.signal, AbortSignal.timeout(MAX_RUN_MS)])
      const onLine = (line: string) => addLine(run, line)
      end = await runner.run({ asked, key: issued.key, controlPlaneUrl: url(), onLine, signal })
    } catch (error) {
      addLine(run, messageOf(error))
    }
    try {
      await keys.endDrillKey(orgId, issued.keyId)
      run.drillId = await storedBy(orgId, issued.keyId)
    } catch (error) {
      // The key ends by itself.
      log.error({ reason: messageOf(error) }, 'the key of a drill could not be ended')
    }
    run.endedAtMs = nowMs()
    run.state = end
    await tellEnd(orgId, run)
    current = undefined
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
    const refusedHere = refusalOf(caller, orgId, asked)
    const startedAtMs = nowMs()
    const runId = randomUUID()
    const ended = Promise.withResolvers<void>()
    // From here on no other one begins.
    if (refusedHere === undefined) running = ended.promise
    let claimed = false
    try {
      claimed = refusedHere === undefined && (await runs.claimDrillRun(orgId, runId))
      const refused = refusedHere ?? (claimed ? undefined : alreadyRunning())
      const kind = asked.org === true ? 'admin' : 'operator'
      const wanted = { kind, endsAtMs: startedAtMs + KEY_LIFE_MS, asked, refused } as const
      const issued = await keys.issueDrillKey(caller, orgId, wanted)
      if (runner === undefined) throw notConfigured()
      const by = `${caller.kind}:${caller.actor}`
      const begun = { runId, startedAtMs, endedAtMs: null, by, drillId: null, lines: [] }
      const run: Run = { ...begun, state: 'running' }
      current = run
      void drill(runner, run, asked, issued).then(ended.resolve)
      return bodyOf(run)
    } catch (error) {
      if (refusedHere === undefined) running = undefined
      if (claimed) await runs.releaseDrillRun(orgId, runId).catch(() => {})
      ended.resolve()
      throw error
    }
  }

  const bodyFor = async (orgId: string): Promise<DrillRunBody> => {
    const isHere = runner?.orgId === orgId
    if (isHere && current !== undefined) return bodyOf(current)
    const found = await runs.findDrillRun(orgId)
    if (found === undefined) return { state: isHere ? 'idle' : 'off', ...NONE }
    const { run, lostAtMs } = found
    return lostAtMs === undefined ? run : lostRun(run, lostAtMs)
  }

  return {
    of: bodyFor,
    start,
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

function lostRun(run: DrillRunBody, lostAtMs: number): DrillRunBody {
  const said =
    'The control plane that ran this drill ended, or was cut off: look whether all that it stopped is restored.'
  return { ...run, state: 'failed', endedAt: isoOrNull(lostAtMs), lines: [...run.lines, said] }
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
