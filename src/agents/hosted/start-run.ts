import type { AgentInputItem } from '@openai/agents'
import { digestOf } from '../../canonical-json.ts'
import { drainOn, withClaim } from './execution.ts'
import { hostedAgent, requireRoom, type Host } from './host.ts'
import { RUN_LEASE_MS } from './lease.ts'
import { beginRun } from './run-part.ts'
import type { RunRecord } from './run-store.ts'
import { MAX_DELAY_MS, RUN_ID, RunRefused, type RunCaller, type RunView, type StartRun } from './run-types.ts'
import { tellOfRun } from './run-watcher.ts'
import { contextDigestOf } from './same-context.ts'
import { viewOf } from './views.ts'

/** Gives the run as it paused or ended, or as it is stored when it waits, or is there already. */
export async function startRun(
  host: Host,
  who: RunCaller,
  request: StartRun,
  nudge: () => void,
): Promise<RunView> {
  const hosted = hostedAgent(host, request.agent)
  const { delayMs, isBackground } = checked(request)
  const { agent, input, runId = `run_${crypto.randomUUID()}` } = request
  const requestDigest = digestOf({ agent, input })
  // A retry gets its run also where there is no room for another.
  const known = request.runId === undefined ? undefined : await host.store.find(runId)
  if (known !== undefined) return existingRun(host, who, known, requestDigest)
  if (!isBackground || host.closing) requireRoom(host)
  const contextDigest = contextDigestOf(host, hosted, { runId, context: request.context })
  const text = JSON.stringify(input)
  const queued = isBackground
    ? { input: host.seal.seal({ purpose: 'input', runId }, text), delayMs }
    : undefined
  const created = await host.store.create(
    { runId, caller: who.id, agent, requestDigest, contextDigest, queued },
    RUN_LEASE_MS,
  )
  const { run } = created
  if (!created.created) return existingRun(host, who, run, requestDigest)
  const { token } = created
  if (token === undefined) {
    tellOfRun(host, run)
    nudge()
    return viewOf(host, run)
  }
  host.guard.reach('run.claimed')
  return host.guard.track(undefined, (work) =>
    withClaim(host, { run, token }, request, async (execution) => {
      drainOn(host, execution, work)
      return beginRun(host, { run, token }, execution, { hosted, input, context: request.context })
    }),
  )
}

async function existingRun(
  host: Host,
  who: RunCaller,
  run: RunRecord,
  requestDigest: string,
): Promise<RunView> {
  if (run.caller === who.id && run.requestDigest === requestDigest) return viewOf(host, run)
  throw new RunRefused(
    'RUN_ID_TAKEN',
    `The run id ${run.runId} is taken by another request. Choose another one, or leave it out.`,
  )
}

function checked({ input, runId, context, background, delayMs }: StartRun) {
  const isBackground = background === true || delayMs !== undefined
  if (!isInput(input))
    throw new RunRefused('BAD_INPUT', 'input must be a text, or a list of items for the model.')
  if (runId !== undefined && !RUN_ID.test(runId))
    throw new RunRefused('BAD_INPUT', 'runId must be 1 to 128 characters of A-Z a-z 0-9 . _ : -')
  if (delayMs !== undefined && !(delayMs >= 0 && delayMs <= MAX_DELAY_MS))
    throw new RunRefused('BAD_INPUT', `delayMs must be 0 to ${MAX_DELAY_MS} milliseconds.`)
  if (isBackground && context !== undefined) {
    throw new RunRefused(
      'CONTEXT_NOT_KEPT',
      'A run that waits takes no context: it may hold secrets, and is never stored. Leave context or background out.',
    )
  }
  return { isBackground, delayMs: delayMs ?? 0 }
}

function isInput(input: unknown): input is string | AgentInputItem[] {
  if (typeof input === 'string') return input !== ''
  return (
    Array.isArray(input) &&
    input.length > 0 &&
    input.every((item: unknown) => typeof item === 'object' && item !== null)
  )
}
