import { faithfulDigestOf } from '../../canonical-json.ts'
import type { Host } from './host.ts'
import type { HostedAgent } from './hosted-agent.ts'
import type { RunRecord } from './run-store.ts'
import { RunRefused } from './run-types.ts'

const GIVE_A_FUNCTION = 'give the hosted agent a context function: { agent, context: ({ caller }) => … }'

/**
 * What to store of the context that a run is started with, so that whoever resumes it cannot put another one under a
 * call that was approved. Undefined where the app makes the context itself. Throws `BAD_INPUT` for one that is no JSON.
 */
export function contextDigestOf(
  { seal }: Host,
  { context: factory }: HostedAgent,
  { runId, context }: { readonly runId: string; readonly context: unknown },
): string | undefined {
  return factory === undefined ? seal.digest(runId, textOf(context)) : undefined
}

/** Throws `CONTEXT_CHANGED` when the context is not the one that the run was started with. */
export function requireSameContext(
  { seal }: Host,
  { context: factory }: HostedAgent,
  { runId, contextDigest }: RunRecord,
  context: unknown,
): void {
  if (factory !== undefined) return
  if (contextDigest !== undefined && seal.isDigest(runId, textOf(context), contextDigest)) return
  throw new RunRefused(
    'CONTEXT_CHANGED',
    `Run ${runId} was started with another context, and calls may have been approved under it. Send the same context, or ` +
      GIVE_A_FUNCTION,
  )
}

/** Whether only its caller can resume it: it was started with a context, and that is never stored. */
export function needsItsCaller(
  { seal }: Host,
  { context: factory }: HostedAgent,
  { runId, contextDigest }: RunRecord,
): boolean {
  if (factory !== undefined) return false
  return contextDigest === undefined || !seal.isDigest(runId, textOf(undefined), contextDigest)
}

function textOf(context: unknown): string {
  if (context === undefined) return 'none'
  const digest = faithfulDigestOf(context)
  if (digest !== undefined) return digest
  throw new RunRefused(
    'BAD_INPUT',
    `context must be what JSON can hold. Send such a one, or ${GIVE_A_FUNCTION}`,
  )
}
