import { CALLS } from '../machineid/calls.ts'
import { CliError } from './cli-error.ts'
import type { CallOptions, OperatorClient } from './operator-client.ts'

/** Who could still make keys and enable the org. */
export interface Admins {
  /** Addresses that recovery mails to. */
  readonly owners: number
  /** Keys of kind admin or full that work and are not about to end. */
  readonly keyIds: readonly string[]
}

/** Undefined with a key that may not see it, which is no admin key itself. */
export async function adminsOf(
  operator: OperatorClient,
  options: CallOptions = {},
): Promise<Admins | undefined> {
  try {
    const [{ keys }, { owners }] = await Promise.all([
      operator.call(CALLS.keys, {}, options),
      operator.call(CALLS.owners, {}, options),
    ])
    const isAdmin = ({ kind, state }: (typeof keys)[number]) =>
      (kind === 'admin' || kind === 'full') && state === 'active'
    return { owners: owners.length, keyIds: keys.filter(isAdmin).map(({ keyId }) => keyId) }
  } catch (error) {
    if (error instanceof CliError && error.code === 'INSUFFICIENT_SCOPE') return undefined
    throw error
  }
}

/** A look for burning `keyId`: what to say where nobody could get in again after it, else undefined. */
export function lockOutOf(admins: Admins | undefined, keyId: string): string | undefined {
  if (admins === undefined || admins.owners > 0) return undefined
  if (!admins.keyIds.includes(keyId) || admins.keyIds.length > 1) return undefined
  return (
    `${keyId} is the only admin key of an org without an owner: burned, it locks everybody out for good, and nobody can ` +
    'make keys or enable the org again. Make another one first (holdpoint keys create --kind admin --out FILE), or put ' +
    `a new one in its place and burn it at once: holdpoint keys rotate ${keyId} --overlap 0s`
  )
}
