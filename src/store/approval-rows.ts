import type {
  ApprovalRecord,
  ApprovalState,
  ApprovalVerdict,
  NewApproval,
} from '../agents/hosted/run-store.ts'
import type { ApprovalProblem, ApprovalUse, EffectState, Intent } from '../guard/journal.ts'

/** What the journal has on the key of an intent that is about to begin. */
export interface EarlierAttempt {
  readonly state: EffectState
  readonly approval_id: string | null
}

/** What an approval's use depends on. */
export interface ApprovalUseRow {
  readonly run_id: string
  readonly call_id: string
  readonly caller: string
  readonly state: ApprovalState
  readonly use_token: string | null
  readonly expires_at_ms: number
}

/**
 * What becomes of an approval that is asked for: `use` it up now; undefined: the same execution of the call has used it
 * before, and goes on; or why it lets nothing begin.
 */
export function useOf(
  row: ApprovalUseRow | undefined,
  { useToken }: ApprovalUse,
): 'use' | ApprovalProblem | undefined {
  if (row?.state === 'approved') return 'use'
  if (row?.state === 'used') return row.use_token === useToken ? undefined : 'used'
  return row?.state === 'expired' ? 'expired' : 'missing'
}

/** The same for an intent of the call, of which the journal has `earlier`. */
export function useForIntentOf(
  row: ApprovalUseRow | undefined,
  use: ApprovalUse,
  { intent, earlier, nowMs }: IntentUse,
): 'use' | ApprovalProblem | undefined {
  if (row === undefined || !isFor(row, intent)) return 'missing'
  const found = useOf(row, use)
  if (found !== 'used' || !mayGoOn(earlier, use)) return found
  // The process that used it died: what of the call never began, or ended nobody knows how, may go on. Not for ever:
  // nobody who approves it today means a payment of next week.
  return row.expires_at_ms <= nowMs ? 'expired' : undefined
}

export interface IntentUse {
  readonly intent: Intent
  readonly earlier: EarlierAttempt | undefined
  readonly nowMs: number
}

function isFor(row: ApprovalUseRow, { caller, runId, callId }: Intent): boolean {
  return row.caller === caller && row.run_id === runId && row.call_id === callId
}

function mayGoOn(earlier: EarlierAttempt | undefined, { approvalId }: ApprovalUse): boolean {
  return earlier === undefined || (earlier.state === 'unknown' && earlier.approval_id === approvalId)
}

export interface ApprovalBindingRow {
  readonly approval_id: string
  readonly call_id: string
  readonly tool: string
  readonly digest: string
  readonly schema_digest: string
  readonly surface: string
}

/** What a save changes of the approvals that are `open`. Those that are wanted again stay as they are. */
export function changesOf(
  open: readonly ApprovalBindingRow[],
  wanted: readonly NewApproval[],
): { readonly added: readonly NewApproval[]; readonly ended: readonly ApprovalBindingRow[] } {
  // Two agents of a run may wait at equal calls under one id: one record for each.
  const left = open.map((row) => ({ row, of: bindingOfRow(row) }))
  const added = wanted.filter((approval) => {
    const binding = bindingOf(approval)
    const at = left.findIndex(({ of }) => of === binding)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
  return { added, ended: left.map(({ row }) => row) }
}

/** The first verdict that cannot be stored: its approval is not waiting, or gets another verdict here. */
export function firstRefused(
  rows: readonly { readonly approval_id: string; readonly state: ApprovalState }[],
  verdicts: readonly ApprovalVerdict[],
): { readonly approvalId: string; readonly state: ApprovalState | 'missing' } | undefined {
  const now = new Map(rows.map((row) => [row.approval_id, row.state]))
  for (const { approvalId, approve } of verdicts) {
    const state = now.get(approvalId) ?? 'missing'
    if (state !== 'waiting') return { approvalId, state }
    now.set(approvalId, approve ? 'approved' : 'declined')
  }
  return undefined
}

export function recordOf(row: Record<string, unknown>): ApprovalRecord {
  return {
    ...row,
    message: row['message'] ?? undefined,
    decidedBy: row['decidedBy'] ?? undefined,
  } as ApprovalRecord
}

function bindingOf({ callId, tool, digest, schemaDigest, surface }: Omit<NewApproval, 'ttlMs'>): string {
  return JSON.stringify([callId, tool, digest, schemaDigest, surface])
}

function bindingOfRow(row: ApprovalBindingRow): string {
  return JSON.stringify([row.call_id, row.tool, row.digest, row.schema_digest, row.surface])
}
