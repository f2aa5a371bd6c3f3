import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'

import type { Clock } from '../clock.ts'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'

const LOOK_AGAIN_MS = 1000

/** The key of the org, from an option or from a file. Never printed: it has no property that shows it. */
export class OrgKey {
  readonly #path: string | undefined
  readonly #clock: Clock
  #key: string
  #version = ''
  #lookedAtMs: number

  /** Throws `GUARD_MISCONFIGURED` when there is no usable key. */
  constructor(source: { orgKey?: string | undefined; orgKeyFile?: string | undefined }, clock: Clock) {
    this.#path = source.orgKeyFile
    this.#clock = clock
    this.#lookedAtMs = clock.now().monotonicMs
    if ((source.orgKey === undefined) === (this.#path === undefined)) {
      throw new GuardMisconfiguredError(
        'Give exactly one of orgKey (MACHINEID_ORG_KEY) and orgKeyFile (MACHINEID_ORG_KEY_FILE). npx holdpoint start writes ./data/tool-server.json.',
      )
    }
    if (this.#path === undefined) this.#key = checkedKey(source.orgKey)
    else {
      try {
        this.#version = versionOf(this.#path)
        this.#key = readKeyFile(this.#path)
      } catch (cause) {
        throw new GuardMisconfiguredError(
          `orgKeyFile (MACHINEID_ORG_KEY_FILE) gives no key: ${problemOf(cause, resolve(this.#path))}`,
          // A parser's error would quote the file.
          cause instanceof SyntaxError ? {} : { cause },
        )
      }
    }
  }

  /** The key to send now. A changed file is noticed within a second; one that cannot be read keeps the last key. */
  current(): string {
    if (this.#path === undefined) return this.#key
    const nowMs = this.#clock.now().monotonicMs
    if (nowMs - this.#lookedAtMs >= LOOK_AGAIN_MS) {
      this.#lookedAtMs = nowMs
      this.#reread(this.#path)
    }
    return this.#key
  }

  /** The authority refused the key: look at the file before the next question. */
  refused(): void {
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
  }

  #reread(path: string): void {
    try {
      const version = versionOf(path)
      if (version === this.#version) return
      this.#key = readKeyFile(path)
      this.#version = version
    } catch {
      // Being replaced at this moment. Whether the last key still counts is for the authority to say.
    }
  }
}

function problemOf(cause: unknown, file: string): string {
  const { code } = cause as { code?: unknown }
  const next =
    'Name the file that holds a runtime key; npx holdpoint start writes one, tool-server.json in its DATA_DIR.'
  if (code === 'ENOENT') return `there is no file ${file}. ${next}`
  if (code === 'EACCES') return `this user may not read ${file}. Check its owner and mode.`
  return `${file}: ${messageOf(cause)}`
}

function versionOf(path: string): string {
  const { ino, size, mtimeMs, ctimeMs } = statSync(path)
  return `${ino}:${size}:${mtimeMs}:${ctimeMs}`
}

function readKeyFile(path: string): string {
  const text = readFileSync(path, 'utf8').trim()
  if (!text.startsWith('{')) return checkedKey(text)
  let file: { runtime?: unknown }
  try {
    file = JSON.parse(text) as { runtime?: unknown }
  } catch {
    throw new SyntaxError('it is not well-formed JSON.')
  }
  return checkedKey(file.runtime)
}

function checkedKey(key: unknown): string {
  if (typeof key === 'string' && /^[\x21-\x7e]{1,512}$/.test(key)) return key
  throw new GuardMisconfiguredError(
    'The org key (MACHINEID_ORG_KEY) is empty or has characters that no key has. Copy it again, without spaces or line breaks.',
  )
}
