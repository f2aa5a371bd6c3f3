import { isDeepStrictEqual } from 'node:util'

import { keyProblem } from '../keys.ts'
import type { KeyRecord } from '../records.ts'
import type { ControlPlaneStore } from '../store.ts'

const MAX_ROTATIONS = 32

/**
 * Whether `key` may go on telling of what `owner` told of: it is the same, one of the two was rotated into the other, or
 * `owner` is dead and spoke for exactly the same devices, as a key has that is issued in place of a burned one.
 */
export async function mayTellFor(
  store: Pick<ControlPlaneStore, 'findKey'>,
  key: KeyRecord,
  owner: KeyRecord,
  nowMs: number,
): Promise<boolean> {
  if (owner.orgId !== key.orgId) return false
  if ((await leadsTo(store, owner, key.keyId)) || (await leadsTo(store, key, owner.keyId))) return true
  return (
    keyProblem(owner, nowMs) !== undefined &&
    owner.kind === key.kind &&
    isDeepStrictEqual(owner.bindings?.toSorted(), key.bindings?.toSorted())
  )
}

async function leadsTo(
  store: Pick<ControlPlaneStore, 'findKey'>,
  from: KeyRecord,
  keyId: string,
): Promise<boolean> {
  let at: KeyRecord | undefined = from
  for (let step = 0; at !== undefined && step <= MAX_ROTATIONS; step++) {
    if (at.keyId === keyId) return true
    at = at.replacedBy === null ? undefined : await store.findKey(at.replacedBy)
  }
  return false
}
