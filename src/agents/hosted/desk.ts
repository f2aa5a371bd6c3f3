import { digestOf } from '../../canonical-json.ts'
import { messageOf } from '../../errors.ts'
import { SERVER_SURFACE } from '../../guard/surface.ts'
import { redact } from '../../redact.ts'
import type { ApprovalDesk, ApprovalRequest, DeskVerdict, ShownApproval, ShownCall } from './approval-desk.ts'
import type { Host } from './host.ts'
import type { ApprovalRecord } from './run-store.ts'
import { argumentsOf, isoTime } from './views.ts'

/** How the desk's decisions are recorded: who decided there follows. */
export const DESK_PREFIX = 'desk:'
/** Beyond that many, those that expire last come later. */
const MOST_WAITING = 500

/** How it goes with the desk. */
export interface DeskState {
  /** Calls of the desk that have failed since the last one that did not. */
  failures: number
  /** What it shows may not be what waits. */
  isBehind: boolean
  /** Approvals whose verdict was not on what waits, each told of once. */
  readonly mismatched: Set<string>
}

/** Behind, as far as is known at the start: somebody may have died before telling it. */
export function newDeskState(): DeskState {
  return { failures: 0, isBehind: true, mismatched: new Set() }
}

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
  if (asked.length === 0 && ended.length === 0) return Promise.resolve()
  return withDesk(host, async (desk) => {
    // A desk can be full: first what makes room.
    if (ended.length > 0) await desk.withdraw(ended)
    if (asked.length > 0) await desk.ask(asked.map((approval) => requestOf(host, approval)))
  })
}

/** Brings the desk to what waits, whatever it was told before: a restart or a failure may have come in between. */
export function reconcileDesk(host: Host): Promise<void> {
  return withDesk(host, async (desk) => {
    host.deskState.isBehind = false
    const waiting = await host.store.waitingApprovals(MOST_WAITING)
    const shown = (await desk.waiting?.()) ?? []
    const known = new Set(shown.map(({ approvalId }) => approvalId))
    const still = new Set(waiting.map(({ approvalId }) => approvalId))
    const ended = await endedOf(
      host,
      shown.filter(({ approvalId }) => !still.has(approvalId)),
    )
    if (ended.length > 0) await desk.withdraw(ended)
    const missing = waiting.filter(({ approvalId }) => !known.has(approvalId))
    if (missing.length > 0) await desk.ask(missing.map((approval) => requestOf(host, approval)))
  })
}

/** What is shown of ours and no longer waits. What our store does not know is somebody else's. */
async function endedOf({ store }: Host, shown: readonly ShownApproval[]): Promise<readonly string[]> {
  const runIds = new Set(shown.map(({ runId }) => runId))
  const own = (await Promise.all([...runIds].map((runId) => store.approvalsOf(runId)))).flat()
  const ended = new Set(own.filter((one) => !isWaiting(one)).map(({ approvalId }) => approvalId))
  return shown.map(({ approvalId }) => approvalId).filter((approvalId) => ended.has(approvalId))
}

/** Stores what the desk has decided so far. They count like decisions made here, for calls that still wait. */
export function adoptVerdicts(host: Host, runId: string): Promise<void> {
  return withDesk(host, async (desk) => {
    await adopt(host, desk, (await host.store.approvalsOf(runId)).filter(isWaiting))
  })
}

/** The same for every run. Gives the runs that something was decided in. */
export async function adoptAllVerdicts(host: Host): Promise<ReadonlySet<string>> {
  let runIds: ReadonlySet<string> = new Set()
  await withDesk(host, async (desk) => {
    runIds = await adopt(host, desk, await host.store.waitingApprovals(MOST_WAITING))
  })
  return runIds
}

async function adopt(
  host: Host,
  desk: ApprovalDesk,
  waiting: readonly ApprovalRecord[],
): Promise<ReadonlySet<string>> {
  const decided = new Set<string>()
  if (waiting.length === 0) return decided
  const verdicts = await desk.verdictsOn(waiting.map(({ approvalId }) => approvalId))
  for (const approval of waiting) {
    const [verdict, ...more] = verdicts.filter(({ approvalId }) => approvalId === approval.approvalId)
    // Two answers on one question are none.
    if (verdict === undefined || more.length > 0 || !isOn(host, verdict, approval)) continue
    const { approvalId, runId } = approval
    const { approve, message, by } = verdict
    const problem = await host.store.decide(runId, [{ approvalId, approve, message }], DESK_PREFIX + by)
    if (problem === undefined) decided.add(runId)
  }
  return decided
}

/** What the person saw is what waits, and what is sealed. Nothing may be approved that cannot be shown. */
function isOn(host: Host, { digest, shown, approve }: DeskVerdict, approval: ApprovalRecord): boolean {
  const { approvalId, runId } = approval
  const isOurs = digest === approval.digest && (shown === undefined || isShown(shown, approval))
  if (isOurs && (!approve || digestOf(argumentsOf(host, approval)) === digest)) return true
  const { mismatched } = host.deskState
  if (!mismatched.has(approvalId)) {
    const line = { run_id: runId, approval_id: approvalId }
    host.log.warn(
      line,
      'a verdict of the approval desk is on other arguments or another call than what waits; it was ignored',
    )
    mismatched.add(approvalId)
  }
  return false
}

/** Whoever holds a runtime key can bring the same arguments to a desk under the name of a harmless tool. */
function isShown(shown: ShownCall, approval: ApprovalRecord): boolean {
  return SHOWN.every((name) => shown[name] === redact(approval[name]))
}

const SHOWN = ['runId', 'agent', 'caller', 'callId', 'tool', 'schemaDigest', 'surface'] as const

/** A desk that fails holds nothing up: nothing is decided then, and people can still decide here. */
async function withDesk(host: Host, body: (desk: ApprovalDesk) => Promise<void>): Promise<void> {
  const { desk, deskState, log } = host
  if (desk === undefined) return
  try {
    await body(desk)
    if (deskState.failures > 0) log.info('the approval desk answers again')
    deskState.failures = 0
  } catch (cause) {
    deskState.isBehind = true
    deskState.failures += 1
    // It is asked every few seconds: one line says it.
    if (deskState.failures > 1) return
    log.error({ err: messageOf(cause) }, 'the approval desk failed; nothing was decided there')
  }
}

export function isWaiting({ state }: ApprovalRecord): boolean {
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
    deviceIds: devicesOf(host, surface),
    arguments: argumentsOf(host, approval),
    expiresAt: isoTime(approval.expiresAtMs),
  }
}

/** A surface that is declared no more has only the server device left: its calls are denied anyway. */
function devicesOf({ guard }: Host, surface: string): readonly string[] {
  return (guard.surfaces.find(({ name }) => name === surface) ?? guard.surface(SERVER_SURFACE)).deviceIds
}
