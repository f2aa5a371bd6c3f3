import type { Output } from '../../api/routes.ts'

export type KeyRow = Output<'keys'>['keys'][number]
export type KeyKind = KeyRow['kind']

interface About {
  readonly kind: KeyKind
  /** Who gets one. */
  readonly isFor: string
  readonly may: string
  readonly mayNot: string
}

/** What each kind of key may do: what a person has to know to choose the least that is enough. */
export const KINDS: readonly About[] = [
  {
    kind: 'runtime',
    isFor: 'For a process that runs agents.',
    may: 'Registers and validates the devices it is bound to, listens to stops, says what runs, brings calls that wait for an approval.',
    mayNot:
      'It never restores, enables, rotates or approves: a stopped agent cannot release itself. It cannot sign in here.',
  },
  {
    kind: 'viewer',
    isFor: 'For whoever watches.',
    may: 'Sees everything but keys and owners: devices, stops, approvals, runs, decisions, audit, drills.',
    mayNot: 'It changes nothing.',
  },
  {
    kind: 'stop',
    isFor: 'For on-call, alerts and bots.',
    may: 'Sees devices and stops, and stops: a device, a surface, the whole org.',
    mayNot: 'It never restores, and reads neither decisions nor the audit.',
  },
  {
    kind: 'operator',
    isFor: 'For whoever is in charge of the agents.',
    may: 'Stops, restores devices and locks, registers and removes devices, decides on approvals, runs drills.',
    mayNot: 'It cannot switch the org back on, and has no say over keys and owners.',
  },
  {
    kind: 'admin',
    isFor: 'For the few who answer for the org.',
    may: 'Everything of the org: what an operator may, and switching the org back on, keys and owners.',
    mayNot: 'It validates nothing, and does not set the plan.',
  },
  {
    kind: 'full',
    isFor: "For MachineID's own clients, which know one key.",
    may: 'Everything that admin and runtime keys may, for every device, and restores without an epoch.',
    mayNot:
      'It does not set the plan. A process that holds it can release itself: give runtime keys where you can.',
  },
]

export function aboutKind(kind: KeyKind): About | undefined {
  return KINDS.find((about) => about.kind === kind)
}

/** Kinds that ask for devices. */
export function asksForDevices(kind: KeyKind): boolean {
  return kind === 'runtime' || kind === 'full'
}

/** Whether nobody could get in again once this key is burned. */
export function isLastWayIn(
  row: Pick<KeyRow, 'keyId' | 'kind' | 'state'>,
  all: readonly Pick<KeyRow, 'keyId' | 'kind' | 'state'>[],
  owners: readonly string[] | undefined,
): boolean {
  const admins = all.filter(({ kind, state }) => (kind === 'admin' || kind === 'full') && state === 'active')
  return owners?.length === 0 && admins.length === 1 && admins[0]?.keyId === row.keyId
}

export function hasEnded({ state }: Pick<KeyRow, 'state'>): boolean {
  return state === 'burned' || state === 'expired'
}
