import type { ApprovalDesk, ApprovalRequest, DeskVerdict } from '../agents/hosted/approval-desk.ts'
import { canonicalJson, digestOfText } from '../canonical-json.ts'
import { GuardMisconfiguredError, HoldpointError } from '../errors.ts'
import type { Logger } from '../log.ts'
import {
  MAX_LISTED_APPROVALS,
  type ApprovalsClient,
  type ApprovalsListQuery,
} from '../machineid/approvals-client.ts'
import type { MachineID } from '../machineid/client.ts'
import type { Result } from '../machineid/management.ts'
import {
  ApprovalsAskRequest,
  MAX_APPROVALS,
  MAX_APPROVALS_BODY_BYTES,
  type ApprovalBody,
  type AskedApproval,
} from '../machineid/wire-approvals.ts'

/** Beside the approvals themselves. */
const FRAME_BYTES = 64
const MAX_PAGES = 50
const MAX_MESSAGE_CHARS = 2000
const MAX_NAME_CHARS = 256

type ListedRow = Omit<ApprovalBody, 'argumentsJson'>

/**
 * The desk of the control plane: it shows calls that wait with their arguments, which leave this process for it, and
 * gives what people decided there. Throws `GUARD_MISCONFIGURED` for a client of hosted MachineID, which has none.
 */
export function createAuthorityDesk(
  client: Pick<MachineID, 'approvals'>,
  { log }: { readonly log: Logger },
): ApprovalDesk {
  const { approvals } = client
  if (approvals === undefined) {
    throw new GuardMisconfiguredError(
      'Hosted MachineID has no approvals desk. Leave the desk out, and decide at the tool server: POST /runs/:id/decisions.',
    )
  }
  const notShown = notShownLog(log)
  return {
    ask: async (requests) => {
      const asked = requests.flatMap((request) => askedApproval(request, notShown))
      for (const batch of batches(asked)) if (!(await askBatch(approvals, batch, notShown))) return
    },
    verdictsOn: async (approvalIds) => {
      const verdicts: DeskVerdict[] = []
      for (const ids of chunks(approvalIds, MAX_LISTED_APPROVALS)) {
        const rows = await listed(approvals, { ids })
        verdicts.push(...ids.flatMap((id) => verdictOn(id, rows)))
      }
      return verdicts
    },
    waiting: () => listed(approvals, { state: 'waiting' }),
    withdraw: async (approvalIds) => {
      for (const ids of chunks(approvalIds, MAX_APPROVALS)) done(await approvals.withdraw(ids))
    },
  }
}

/** Tells of each approval once that it can be decided here only. */
type NotShown = (approvalId: string, why: string) => void

function notShownLog(log: Logger): NotShown {
  const told = new Set<string>()
  return (approvalId, why) => {
    if (told.has(approvalId)) return
    told.add(approvalId)
    log.warn(
      { approval_id: approvalId, why },
      'a call that waits cannot be shown at the control plane; decide it at the tool server: POST /runs/:id/decisions',
    )
  }
}

/** None for a call that nobody could be shown whole. */
function askedApproval(request: ApprovalRequest, notShown: NotShown): readonly AskedApproval[] {
  const { arguments: args, deviceIds, ...fields } = request
  const argumentsJson = canonicalJson(args)
  const asked = { ...fields, deviceIds: [...deviceIds], argumentsJson }
  const why =
    args === undefined || digestOfText(argumentsJson) !== request.digest
      ? 'its arguments do not open'
      : bytesOf(asked) + FRAME_BYTES > MAX_APPROVALS_BODY_BYTES
        ? 'its arguments are too large'
        : problemOf(asked)
  if (why === undefined) return [asked]
  notShown(request.approvalId, why)
  return []
}

function problemOf(asked: AskedApproval): string | undefined {
  const issue = ApprovalsAskRequest.safeParse({ approvals: [asked] }).error?.issues[0]
  return issue && `${issue.path.slice(2).join('.')} ${issue.message}`
}

/** One that the control plane refuses must not keep the others back. False when it takes no more for now. */
async function askBatch(
  client: ApprovalsClient,
  batch: readonly AskedApproval[],
  notShown: NotShown,
): Promise<boolean> {
  const result = await client.ask(batch)
  const isFull = !result.ok && result.code === 'AUTHORITY_RATE_LIMITED'
  if (result.ok || (!result.answered && !isFull)) {
    done(result)
    return true
  }
  const [first] = batch
  if (batch.length === 1 && first !== undefined) {
    notShown(first.approvalId, isFull ? 'too many wait there already' : result.code)
    return !isFull
  }
  for (const one of batch) if (!(await askBatch(client, [one], notShown))) return false
  return true
}

/** Page after page: one may be short, or empty, and still have a next one. Without the arguments, which can be large. */
async function listed(client: ApprovalsClient, query: ApprovalsListQuery): Promise<readonly ListedRow[]> {
  const rows: ListedRow[] = []
  let cursor: string | undefined
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = done(await client.list({ ...query, cursor }))
    for (const { argumentsJson: _arguments, ...row } of answer.approvals) rows.push(row)
    cursor = answer.nextCursor ?? undefined
    if (cursor === undefined) break
  }
  return rows
}

/** None unless the answer has exactly one on this id, decided by somebody. */
function verdictOn(approvalId: string, rows: readonly ListedRow[]): readonly DeskVerdict[] {
  const [row, ...more] = rows.filter((one) => one.approvalId === approvalId)
  if (row === undefined || more.length > 0) return []
  const { state, digest, message, decidedBy, decidedAt } = row
  const { runId, agent, caller, callId, tool, schemaDigest, surface } = row
  const approve = state === 'approved'
  if (!approve && state !== 'declined') return []
  if (decidedBy === null || decidedBy === '' || decidedAt === null) return []
  const isMessageWrong = approve ? message !== null : (message ?? '').length > MAX_MESSAGE_CHARS
  if (isMessageWrong) return []
  return [
    {
      approvalId,
      digest,
      shown: { runId, agent, caller, callId, tool, schemaDigest, surface },
      approve,
      message: message ?? undefined,
      by: decidedBy.slice(0, MAX_NAME_CHARS),
    },
  ]
}

function done<T>(result: Result<T>): T {
  if (result.ok) return result.value
  const { code, requestId = 'none', cause } = result
  throw new HoldpointError(
    code,
    `The control plane's approvals desk did not answer as it should: ${code} (request ${requestId}). ` +
      'Calls that wait can be decided at the tool server: POST /runs/:id/decisions.',
    { cause },
  )
}

function batches(asked: readonly AskedApproval[]): AskedApproval[][] {
  const made: AskedApproval[][] = []
  let bytes = Infinity
  for (const one of asked) {
    const size = bytesOf(one) + 1
    const last = made.at(-1)
    if (last === undefined || last.length === MAX_APPROVALS || bytes + size > MAX_APPROVALS_BODY_BYTES) {
      made.push([one])
      bytes = FRAME_BYTES + size
    } else {
      last.push(one)
      bytes += size
    }
  }
  return made
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) =>
    items.slice(at * size, (at + 1) * size),
  )
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value))
}
