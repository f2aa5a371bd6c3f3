import { keyIdOf } from '../../src/control-plane/keys.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { TestControlPlane } from '../fixtures/control-plane.ts'
import { DEVICE, dump } from './key-matrix.ts'

const T0 = Date.UTC(2026, 10, 22)
export const DAY_MS = 86_400_000

/** A clock that stands where it was set, in milliseconds after `T0`. */
export function settableClock() {
  let nowMs = T0
  return {
    clock: { now: () => ({ monotonicMs: nowMs, wallMs: nowMs }) },
    set: (afterMs: number) => void (nowMs = T0 + afterMs),
  }
}
export const at = (ms: number) => new Date(T0 + ms).toISOString()
export const rotatePath = (keyId: string) => PATHS.keyRotate.replace(':id', keyId)
export const burnPath = (keyId: string) => PATHS.keyBurn.replace(':id', keyId)
export const idOf = (key: string) => keyIdOf(key) ?? ''

export function caller({ post, keys }: TestControlPlane) {
  return {
    validate: async (key: string, deviceId = DEVICE) =>
      verdict(await post(PATHS.validate, { deviceId }, key)),
    rotate: (keyId: string, body: unknown = {}) => post(rotatePath(keyId), body, keys.admin),
    burn: (keyId: string, body: unknown = {}) => post(burnPath(keyId), body, keys.admin),
  }
}
export function verdict({ status, body }: { status: number; body: { code?: string } }) {
  return `${status} ${body.code}`
}
export const orgEpoch = async ({ service, orgId }: TestControlPlane) => (await service.usage(orgId)).org.epoch
export const auditOf = (authority: TestControlPlane, action: string) =>
  (dump(authority.file)['audit'] ?? []).map((row) => JSON.parse(row)).filter((row) => row.action === action)
