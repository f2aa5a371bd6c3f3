import { PATHS } from '../../machineid/paths.ts'
import { Refusal } from '../refusal.ts'
import { isoOrNull } from '../times.ts'
import type { ApprovalRecord, ApprovalState } from './approval-store.ts'

export function noSuchApproval(): Refusal {
  return new Refusal(
    'APPROVAL_NOT_FOUND',
    `The org has no such approval, or this key may not see it. See GET ${PATHS.approvals}.`,
  )
}

/** Somebody was faster, or its time has passed. Tells how it ended, and by whom. */
export function notWaiting({ state, decidedBy, endedAtMs }: ApprovalRecord): Refusal {
  const at = isoOrNull(endedAtMs)
  const by = decidedBy === null ? '' : ` by ${decidedBy}`
  return new Refusal('APPROVAL_NOT_WAITING', `${ENDED[state]}${by} at ${at}. ${NEXT[state]}`, {
    state,
    decidedBy,
    decidedAt: decidedBy === null ? null : at,
  })
}

const ENDED: Record<ApprovalState, string> = {
  waiting: 'This approval waits',
  approved: 'This call was approved already,',
  declined: 'This call was declined already,',
  expired: 'This approval expired',
  withdrawn: 'This call no longer waits: it was withdrawn',
}
const NEXT: Record<ApprovalState, string> = {
  waiting: '',
  approved: 'It is decided once. To keep it from running, stop its device.',
  declined: 'It is decided once. Start the run anew if it is to go on.',
  expired: 'Its run asks for a new one when it is resumed.',
  withdrawn: 'Nothing is left to decide.',
}

export function otherDigest(): Refusal {
  return new Refusal(
    'APPROVAL_DIGEST_MISMATCH',
    'The "digest" is not that of the arguments that would run. Look at the approval again before you decide.',
  )
}

export function frozen(): Refusal {
  return new Refusal(
    'ORG_DISABLED',
    'The org is disabled, so its approvals are frozen: nothing was decided. They can be decided once it is enabled again, ' +
      'unless they expire before.',
  )
}

export function staleEpoch(ifEpoch: number, current: number): Refusal {
  return new Refusal(
    'EPOCH_STALE',
    `ifEpoch is ${ifEpoch}, but the org's epoch is ${current}: something was stopped or restored since. Look at the ` +
      'approval and its devices again before you approve.',
    { epoch: current },
  )
}

export function conflict(approvalId: string): Refusal {
  return new Refusal(
    'APPROVAL_CONFLICT',
    `The org has an approval ${approvalId} of another call. Nothing was changed: ask under a new id.`,
  )
}

export function tooMany(): Refusal {
  return new Refusal(
    'TOO_MANY_APPROVALS',
    'Too many approvals of this key, or of the org, wait already. Decide or withdraw some, then ask again.',
  )
}
