import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import { GuardMisconfiguredError } from '../../errors.ts'
import { RunRefused } from './run-types.ts'

/** What is sealed, and what it belongs to: opened as anything else it does not open. */
export type Sealed =
  /** Of the version that this save makes it: an older state of the same run does not open. */
  | { readonly purpose: 'state'; readonly runId: string; readonly version: number }
  | { readonly purpose: 'input' | 'output'; readonly runId: string }
  | { readonly purpose: 'arguments'; readonly runId: string; readonly approvalId: string }

export interface StateSeal {
  /** Of something about a run that is stored only to be recognised. */
  digest(runId: string, text: string): string
  /** Throws `RUN_STATE_REFUSED` when it was made with a key that is not there. */
  isDigest(runId: string, text: string, digest: string): boolean
  seal(what: Sealed, text: string): Uint8Array
  /** Throws `RUN_STATE_REFUSED` for anything but what `seal` gave for exactly this. */
  open(what: Sealed, sealed: Uint8Array): string
}

const FORMAT = 1
const KEY_BYTES = 32
const KEY_ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES

interface SealKey {
  readonly id: Buffer
  readonly key: Buffer
}

/**
 * AES-256-GCM with a key of its own for each run: format, key id, nonce, ciphertext, tag. The first key seals, all of
 * them open, so that a key can be replaced. Throws `GUARD_MISCONFIGURED` when a key is not 32 bytes, or none is given.
 */
export function createStateSeal(keys: readonly Buffer[]): StateSeal {
  const known = keys.map((key): SealKey => {
    if (key.length === KEY_BYTES) return { key, id: keyIdOf(key) }
    throw new GuardMisconfiguredError(
      `A key for paused runs has ${KEY_BYTES} bytes. Make one: ${HOW_TO_MAKE}`,
    )
  })
  const [first] = known
  if (first === undefined) {
    throw new GuardMisconfiguredError(
      `Hosted runs need a key for what they store: RUN_STATE_KEY. ${HOW_TO_MAKE}`,
    )
  }
  return {
    digest: (runId, text) => digestBy(first, runId, text),
    isDigest: (runId, text, digest) => {
      const key = keyOf(known, { purpose: 'context', runId }, Buffer.from(digest.split('.')[0] ?? '', 'hex'))
      const [given, own] = [digest, digestBy(key, runId, text)].map((one) => Buffer.from(one))
      return given?.length === own?.length && timingSafeEqual(given as Buffer, own as Buffer)
    },
    seal: (what, text) => seal(first, what, text),
    open: (what, sealed) =>
      open(known, what, Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)),
  }
}

const HOW_TO_MAKE = `node -e "console.log(require('crypto').randomBytes(32).toString('base64url'))"`

function seal({ id, key }: SealKey, what: Sealed, text: string): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', runKey(key, what.runId), nonce).setAAD(boundTo(what))
  const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([Buffer.of(FORMAT), id, nonce, ciphertext, cipher.getAuthTag()])
}

function open(known: readonly SealKey[], what: Sealed, sealed: Buffer): string {
  if (sealed.length < HEAD_BYTES + TAG_BYTES || sealed[0] !== FORMAT) throw refused(what, CHANGED)
  const found = keyOf(known, what, sealed.subarray(1, 1 + KEY_ID_BYTES))
  const nonce = sealed.subarray(1 + KEY_ID_BYTES, HEAD_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', runKey(found.key, what.runId), nonce, {
    authTagLength: TAG_BYTES,
  }).setAAD(boundTo(what))
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  try {
    const text = decipher.update(sealed.subarray(HEAD_BYTES, -TAG_BYTES))
    return Buffer.concat([text, decipher.final()]).toString('utf8')
  } catch (cause) {
    throw refused(what, CHANGED, cause)
  }
}

function keyOf(known: readonly SealKey[], what: Named, id: Buffer): SealKey {
  const found = known.find((one) => one.id.equals(id))
  if (found !== undefined) return found
  const keyId = id.toString('hex')
  throw refused(what, `It was sealed with a key that this server does not have (${keyId}). ${ADD_KEY}`)
}

/** The id of its key, and a keyed hash under which nobody can try contexts out. */
function digestBy({ id, key }: SealKey, runId: string, text: string): string {
  const hash = createHmac('sha256', runKey(key, runId)).update('holdpoint run context').update(text)
  return `${id.toString('hex')}.${hash.digest('base64url')}`
}

interface Named {
  readonly purpose: Sealed['purpose'] | 'context'
  readonly runId: string
}

const ADD_KEY = 'The key it was sealed with must be in RUN_STATE_KEY, after the current one.'
const CHANGED =
  'It was changed, it belongs to another run, or it is not the latest one. Nothing of it was run. ' +
  `Cancel the run, or restore the store. ${ADD_KEY}`

function refused({ purpose, runId }: Named, why: string, cause?: unknown): RunRefused {
  return new RunRefused('RUN_STATE_REFUSED', `The ${purpose} of run ${runId} does not open. ${why}`, {
    cause,
  })
}

function keyIdOf(key: Buffer): Buffer {
  return createHash('sha256').update('holdpoint run state key').update(key).digest().subarray(0, KEY_ID_BYTES)
}

function runKey(key: Buffer, runId: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, runId, 'holdpoint run state', KEY_BYTES))
}

function boundTo(what: Sealed): Buffer {
  const { purpose, runId } = what
  const bound =
    what.purpose === 'state' ? what.version : what.purpose === 'arguments' ? what.approvalId : null
  return Buffer.from(JSON.stringify([FORMAT, purpose, runId, bound]))
}
