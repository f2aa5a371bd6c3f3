import type { z } from 'zod'

import { manage, type Result } from './management.ts'
import { PATHS } from './paths.ts'
import type { Connection } from './profile.ts'
import {
  ApprovalsAskResponse,
  ApprovalsResponse,
  ApprovalsWithdrawResponse,
  MAX_ARGUMENTS_BYTES,
  type APPROVAL_STATES,
  type AskedApproval,
} from './wire-approvals.ts'

/** Approvals in one answer: each comes with its arguments. */
export const MAX_LISTED_APPROVALS = 20
/** In a JSON text a character of the arguments takes two bytes at most; the rest of an approval is far smaller. */
const MAX_ANSWER_BYTES = MAX_LISTED_APPROVALS * (2 * MAX_ARGUMENTS_BYTES + 32 * 1024)

export interface ApprovalsListQuery {
  /** At most `MAX_LISTED_APPROVALS`. */
  readonly ids?: readonly string[] | undefined
  readonly state?: (typeof APPROVAL_STATES)[number] | undefined
  /** The `nextCursor` of the page before. */
  readonly cursor?: string | undefined
}

/** The desk of the control plane, as a tool server uses it. Its methods never reject. */
export interface ApprovalsClient {
  /** At most `MAX_APPROVALS`, in `MAX_APPROVALS_BODY_BYTES`. Asking again for an id that is there changes nothing. */
  ask(approvals: readonly AskedApproval[]): Promise<Result<z.output<typeof ApprovalsAskResponse>>>
  /** At most `MAX_APPROVALS`. */
  withdraw(approvalIds: readonly string[]): Promise<Result<z.output<typeof ApprovalsWithdrawResponse>>>
  /** Those that this key may see, `MAX_LISTED_APPROVALS` at most. */
  list(query: ApprovalsListQuery): Promise<Result<z.output<typeof ApprovalsResponse>>>
}

/** `timeoutMs`: of one call. */
export function createApprovalsClient(connection: Connection, timeoutMs: number): ApprovalsClient {
  // Each may be sent twice: it changes nothing the second time.
  const change = { method: 'POST', timeoutMs, retry: true, maxAnswerBytes: MAX_ANSWER_BYTES } as const
  return {
    ask: (approvals) =>
      manage(connection, {
        ...change,
        path: PATHS.approvals,
        body: { approvals },
        schema: ApprovalsAskResponse,
      }),
    withdraw: (approvalIds) =>
      manage(connection, {
        ...change,
        path: PATHS.approvalsWithdraw,
        body: { approvalIds },
        schema: ApprovalsWithdrawResponse,
      }),
    list: (query) =>
      manage(connection, {
        ...change,
        method: 'GET',
        path: `${PATHS.approvals}?${queryText(query)}`,
        schema: ApprovalsResponse,
      }),
  }
}

function queryText({ ids, state, cursor }: ApprovalsListQuery): string {
  const fields = { limit: String(MAX_LISTED_APPROVALS), ids: ids?.join(','), state, cursor }
  const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
  return new URLSearchParams(given).toString()
}
