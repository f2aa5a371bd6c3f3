import { messageOf } from '../../errors.ts'
import type { ApprovalDesk, ApprovalRequest } from './approval-desk.ts'
import type { Host } from './host.ts'
import type { ApprovalRecord } from './run-store.ts'
import { argumentsOf, isoTime } from './views.ts'

/** Shows the desk what waits now and takes back what no longer does. */
export function showDesk(
  host: Host,
  before: readonly ApprovalRecord[],
  after: readonly ApprovalRecord[],
): Promise<void> {
  const waiting = after.filter(isWaiting)
  const known = new Set(before.filter(isWaiting).map(({ approvalId }) => approvalId))
  const asked = waiting.filter(({ approvalId }) => !known.has(approvalId))
  const still = new Set(waiting.map(({ approvalId }) => approvalId))
  const ended = [...known].filter((approvalId) => !still.has(approvalId))
  return withDesk(host, async (desk) => {
    if (asked.length > 0) await desk.ask(asked.map((approval) => requestOf(host, approval)))
    if (ended.length > 0) await desk.withdraw(ended)
  })
}

/** Stores what the desk has decided so far. They count like decisions made here, for calls that still wait. */
export function adoptVerdicts(host: Host, runId: string): Promise<void> {
  return withDesk(host, async (desk) => {
    const waiting = (await host.store.approvalsOf(runId)).filter(isWaiting)
    if (waiting.length === 0) return
    const ids = waiting.map(({ approvalId }) => approvalId)
    for (const { approvalId, approve, message, by } of await desk.verdictsOn(ids)) {
      if (ids.includes(approvalId)) await host.store.decide(runId, [{ approvalId, approve, message }], by)
    }
  })
}

/** A desk that fails holds nothing up: nothing is decided then, and people can still decide here. */
async function withDesk({ desk, log }: Host, body: (desk: ApprovalDesk) => Promise<void>): Promise<void> {
  if (desk === undefined) return
  try {
    await body(desk)
  } catch (cause) {
    log.error({ err: messageOf(cause) }, 'the approval desk failed; nothing was decided there')
  }
}

function isWaiting({ state }: ApprovalRecord): boolean {
  return state === 'waiting'
}

function requestOf(host: Host, approval: ApprovalRecord): ApprovalRequest {
  const { approvalId, runId, agent, caller, callId, tool, digest, schemaDigest, surface } = approval
  return {
    approvalId,
    runId,
    agent,
    caller,
    callId,
    tool,
    digest,
    schemaDigest,
    surface,
    arguments: argumentsOf(host, approval),
    expiresAt: isoTime(approval.expiresAtMs),
  }
}
