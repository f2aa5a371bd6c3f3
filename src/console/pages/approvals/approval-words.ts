import type { ApprovalBody } from '../../../machineid/wire-approvals.ts'

/** How an approval stands, in words. */
export const APPROVAL_LOOKS: Readonly<
  Record<ApprovalBody['state'], { readonly look: 'good' | 'bad' | 'warn' | 'quiet'; readonly name: string }>
> = {
  waiting: { look: 'warn', name: 'Waiting' },
  approved: { look: 'good', name: 'Approved' },
  declined: { look: 'bad', name: 'Declined' },
  expired: { look: 'quiet', name: 'Expired' },
  withdrawn: { look: 'quiet', name: 'Withdrawn' },
}

/** What goes on once it is no longer waiting, and what was decided. */
export function whatFollows({ state, message }: Pick<ApprovalBody, 'state' | 'message'>): string | undefined {
  switch (state) {
    case 'waiting':
      return undefined
    case 'approved':
      return 'The run goes on by itself once all of its calls are decided, mostly within a few seconds. The call still asks at its hold points: a stop until then denies it. A run that needs its caller’s context goes on when its caller resumes it.'
    case 'declined':
      return `The call never runs. The run goes on by itself, and the model is told that a person declined it${message === null ? '.' : ', with the message above.'}`
    case 'expired':
      return 'Nobody decided in time, so the call did not run. When the run is resumed it asks for a new approval.'
    case 'withdrawn':
      return 'The call no longer waits: its run was cancelled or has gone on in another way. Nothing is left to decide.'
  }
}

/** `mm:ss` until then, with hours where there are some. Empty when it is over. */
export function countdown(expiresAt: string, nowMs: number): string {
  const seconds = Math.ceil((Date.parse(expiresAt) - nowMs) / 1000)
  if (seconds <= 0) return ''
  const two = (value: number) => String(value).padStart(2, '0')
  const hours = Math.floor(seconds / 3600)
  const rest = `${two(Math.floor((seconds % 3600) / 60))}:${two(seconds % 60)}`
  return hours === 0 ? rest : `${hours}:${rest}`
}

/** Why nothing can be decided now, or undefined. */
export function whyNot(about: {
  readonly approval: Pick<ApprovalBody, 'state' | 'expiresAt'>
  readonly orgDisabled: boolean
  readonly mayDecide: boolean
  readonly kind: string
  readonly nowMs: number
}): string | undefined {
  const { approval, orgDisabled, mayDecide, kind, nowMs } = about
  if (approval.state !== 'waiting') return undefined
  if (Date.parse(approval.expiresAt) <= nowMs)
    return 'It has expired: the run asks for a new approval when it is resumed.'
  if (!mayDecide)
    return `A key of kind ${kind} sees what waits and decides nothing: ask an operator or an admin.`
  if (orgDisabled)
    return 'The whole org is disabled, so nothing is decided. It can be once the org is enabled again.'
  return undefined
}
