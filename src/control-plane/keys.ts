import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'

import { KEY_KINDS, type KeyKind } from '../machineid/wire.ts'
import { newKeyId } from './ids.ts'
import { matchesDevicePattern } from '../device-patterns.ts'
import type { KeyRecord } from './records.ts'

// org_<kind>_<lookup id>_<secret><checksum>, for example org_runtime_mfzwizltoq2gc3tu_4fz…Q2ab9d3e.
// The prefix is MachineID's; the shape can be matched by secret scanners (docs/security.md), the checksum spots a
// typing error.

const KEY = new RegExp(`^org_(${KEY_KINDS.join('|')})_([a-z2-7]{16})_([0-9A-Za-z]{43})([0-9a-f]{8})$`)
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SECRET_LENGTH = 43
const CHECKSUM_LENGTH = 8

export interface NewKey {
  /** Shown once. Only its digest is stored. */
  readonly key: string
  readonly keyId: string
  readonly digest: string
}

/** A key with a secret of 256 random bits. */
export function mintKey(kind: KeyKind): NewKey {
  const keyId = newKeyId()
  const body = `${keyPrefix(kind, keyId)}${base62(randomBytes(32))}`
  const key = `${body}${checksum(body)}`
  return { key, keyId, digest: digestOf(key) }
}

/** What a key begins with: enough to find it in a secret store, and nothing of its secret. */
export function keyPrefix(kind: KeyKind, keyId: string): string {
  return `org_${kind}_${keyId}_`
}

/** The lookup id of something shaped like a key; undefined for everything else. */
export function keyIdOf(key: string): string | undefined {
  return KEY.exec(key)?.[2]
}

/** False for a key with a typing error in it, without asking anybody. */
export function hasValidChecksum(key: string): boolean {
  return KEY.test(key) && checksum(key.slice(0, -CHECKSUM_LENGTH)) === key.slice(-CHECKSUM_LENGTH)
}

/** In constant time. Without a record the work is the same and the answer no. */
export function keyMatches(key: string, record: { readonly digest: string } | undefined): boolean {
  const given = Buffer.from(digestOf(key), 'latin1')
  const same = timingSafeEqual(given, Buffer.from(record?.digest ?? NO_DIGEST, 'latin1'))
  return same && record !== undefined
}

const NO_DIGEST = '0'.repeat(64)

function digestOf(key: string): string {
  return hash('sha256', key, 'hex')
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(CHECKSUM_LENGTH, '0')
}

/** 32 bytes in 43 letters and digits. */
export function base62(bytes: Uint8Array): string {
  let number = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  let text = ''
  while (text.length < SECRET_LENGTH) {
    text = `${BASE62[Number(number % 62n)]}${text}`
    number /= 62n
  }
  return text
}

/** True when a key with these bindings may speak for the device. */
export function mayAskFor(bindings: readonly string[] | null, deviceId: string): boolean {
  return bindings === null || bindings.some((pattern) => matchesDevicePattern(pattern, deviceId))
}

/** Why a genuine key is no longer good; undefined while it is. */
export function keyProblem(
  { endedAs, endsAtMs }: Pick<KeyRecord, 'endedAs' | 'endsAtMs'>,
  nowMs: number,
): 'KEY_BURNED' | 'KEY_EXPIRED' | undefined {
  if (endedAs !== null) return endedAs === 'burned' ? 'KEY_BURNED' : 'KEY_EXPIRED'
  return endsAtMs !== null && endsAtMs <= nowMs ? 'KEY_EXPIRED' : undefined
}

/** A new key, and the record that is kept of it. */
export function newKey(options: {
  readonly orgId: string
  readonly kind: KeyKind
  readonly createdBy: string
  readonly nowMs: number
  readonly name?: string | undefined
  readonly bindings?: readonly string[] | undefined
}): { readonly key: string; readonly record: KeyRecord } {
  const { orgId, kind, createdBy, nowMs, name = null, bindings = null } = options
  const { key, keyId, digest } = mintKey(kind)
  const ends = { endsAtMs: null, endedAtMs: null, endedAs: null, replacedBy: null }
  return {
    key,
    record: { keyId, orgId, kind, name, digest, bindings, createdAtMs: nowMs, createdBy, ...ends },
  }
}
