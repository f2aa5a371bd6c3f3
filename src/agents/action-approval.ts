import { faithfulDigestOf } from '../canonical-json.ts'
import type { LocalDenialCode } from '../guard/decision.ts'
import type { ActionCall } from './action-call.ts'
import { schemaDigestOf } from './schema-digest.ts'
import type { HostedRun } from './session.ts'

/**
 * Why this action may not run as far as its run and people are concerned; always undefined outside of hosted runs, where
 * the SDK itself asks. In a hosted run only the stored approval of exactly this action counts, and it is used up here.
 */
export async function actionApproval(
  hosted: HostedRun | undefined,
  call: ActionCall | undefined,
  surface: string,
): Promise<LocalDenialCode | undefined> {
  if (hosted === undefined) return undefined
  // Whether a person must approve what belongs to no call that we know cannot be told.
  if (call === undefined) return 'APPROVAL_REQUIRED'
  return (call.approval ??= useApproval(hosted, call, surface))
}

async function useApproval(
  hosted: HostedRun,
  call: ActionCall,
  surface: string,
): Promise<LocalDenialCode | undefined> {
  const { tool, callId, action } = call
  if (!(await hosted.mayStart({ callId, again: 'repeated' }))) return 'CALL_ABORTED'
  if (!hosted.wasAsked(callId) && !(await needsApproval(call))) return undefined
  const digest = faithfulDigestOf(action)
  if (digest === undefined) return 'APPROVAL_REQUIRED'
  const use = await hosted.approvalFor({
    callId,
    tool: tool.name,
    digest,
    schemaDigest: schemaDigestOf({ name: tool.name }),
    surface,
  })
  if (typeof use === 'string') return use
  return (await hosted.useApproval(use)) ? undefined : 'APPROVAL_REQUIRED'
}

/** As the SDK asks it: a computer's policy about each action of a call. */
async function needsApproval({ tool, runContext, action, callId }: ActionCall): Promise<boolean> {
  const policy = tool.needsApproval as (context: unknown, action: unknown, callId: string) => Promise<boolean>
  const actions: readonly unknown[] = tool.type === 'computer' && Array.isArray(action) ? action : [action]
  const needed = await Promise.all(actions.map((one) => policy(runContext, one, callId)))
  return needed.some(Boolean)
}
