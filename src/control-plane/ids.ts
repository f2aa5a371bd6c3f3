import { randomBytes, randomFillSync } from 'node:crypto'

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** 5 bits a character. A multiple of 5 bytes fills its characters exactly. */
function base32(bytes: Uint8Array): string {
  let text = ''
  let buffer = 0
  let bits = 0
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(buffer >>> (bits - 5)) & 31]
    buffer &= (1 << bits) - 1
  }
  return text
}

/** Never begins with `org_`: logs take what does for a key. */
export const newOrgId = (): string => `o_${base32(randomBytes(15))}`

/** What a key is found by: 80 bits, 16 characters. */
export const newKeyId = (): string => base32(randomBytes(10))

const RANDOM_CHARACTERS = 20
const pool = Buffer.allocUnsafe((RANDOM_CHARACTERS / 2) * 512)
let random = ''
let taken = 0
let lastMs = -1
let time = ''

/**
 * A UUIDv7: rows keyed by it are written where the last ones were, which costs an eighth of random keys.
 * Node's own `randomUUIDv7` came with 24.16.
 */
export function uuidv7(wallMs: number): string {
  if (taken === random.length) {
    random = randomFillSync(pool).toString('hex')
    taken = 0
  }
  if (wallMs !== lastMs) {
    const hex = Math.floor(wallMs).toString(16).padStart(12, '0')
    time = `${hex.slice(0, 8)}-${hex.slice(8)}-7`
    lastMs = wallMs
  }
  const at = taken
  taken += RANDOM_CHARACTERS
  const variant = '89ab'[random.charCodeAt(at) & 3]
  return `${time}${random.slice(at + 1, at + 4)}-${variant}${random.slice(at + 4, at + 7)}-${random.slice(at + 7, at + 19)}`
}
