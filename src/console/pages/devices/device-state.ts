import type { Output } from '../../api/routes.ts'

export type Device = Output<'devices'>['devices'][number]
export type Lock = Output<'locks'>['locks'][number]
/** What of the org decides over its devices. */
export interface OrgStanding {
  readonly disabled: boolean
  readonly planState: string
}

/** Why a device is denied, in the order in which the control plane looks: the first is what it tells. */
const DENIALS = {
  org_off: (_: Device, org: OrgStanding) => org.disabled,
  plan_off: (_: Device, { planState }: OrgStanding) => planState !== 'active' && planState !== 'canceled',
  revoked: ({ revoked }: Device) => revoked,
  locked: ({ locked }: Device) => locked,
  over_limit: ({ overLimit }: Device) => overLimit,
} as const
export type Denial = keyof typeof DENIALS
const ORDER = Object.keys(DENIALS) as Denial[]

/** Everything that denies it; empty when a validate would allow it now. */
export function denialsOf(device: Device, org: OrgStanding): readonly Denial[] {
  return ORDER.filter((denial) => DENIALS[denial](device, org))
}

export const CODES: Readonly<Record<Denial, string>> = {
  org_off: 'ORG_DISABLED',
  plan_off: 'PLAN_NOT_ACTIVE',
  revoked: 'DEVICE_REVOKED',
  locked: 'DEVICE_LOCKED',
  over_limit: 'DEVICE_OVER_LIMIT',
}

const WORDS: Readonly<Record<Denial, string>> = {
  org_off: 'org is off',
  plan_off: 'plan not active',
  revoked: 'revoked',
  locked: 'locked',
  over_limit: 'over limit',
}

/** `revoked`, and what else would deny it after that. */
export function inWords(denials: readonly Denial[]): { readonly told: string; readonly also: string } {
  const [first, ...others] = denials.map((denial) => WORDS[denial])
  return { told: first ?? 'allowed', also: others.length === 0 ? '' : `also ${others.join(', ')}` }
}

/** In a whole sentence, with the next step. */
export const WHY: Readonly<Record<Denial, string>> = {
  org_off: 'The whole org is switched off: every device is denied, whatever its own state.',
  plan_off: 'The plan of the org is frozen or unpaid: every device is denied until that is settled.',
  revoked: 'It was revoked, and stays so until somebody restores it.',
  locked: 'A lock matches its ID. It works again only once every such lock is released.',
  over_limit:
    'Its slot is above the cap of the plan. Raise the plan, or remove it and register it again once there is room.',
}

const OF_CODE = new Map(ORDER.map((denial) => [CODES[denial], WORDS[denial]]))

/** What `stillDeniedBy` says, in words. */
export function deniedByInWords(codes: readonly string[]): string {
  return codes.map((code) => OF_CODE.get(code) ?? code).join(', ')
}
