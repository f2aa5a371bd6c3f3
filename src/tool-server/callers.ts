import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { z } from 'zod'

import { HoldpointError, messageOf } from '../errors.ts'

export const SCOPES = ['tools:call', 'runs:start', 'runs:resume', 'runs:approve'] as const
/** What a caller may: `tools:call`, `runs:start`, `runs:resume`, `runs:approve`. */
export type Scope = (typeof SCOPES)[number]

/** Who calls, as authenticated. Effects and stored results belong to the `id`. */
export interface Caller {
  readonly id: string
  readonly name: string
  readonly scopes: readonly Scope[]
}

/** A caller as `CALLER_TOKENS_FILE` keeps it: never the token, only its SHA-256 in hex. */
export interface CallerRecord extends Caller {
  readonly sha256: string
}

/** Who may call. */
export interface Callers {
  /** The caller whose token this is. Throws `CALLERS_UNREADABLE` when that cannot be told. */
  find(token: string): Caller | undefined
}

const ASKING: ReadonlySet<Scope> = new Set(['tools:call', 'runs:start'])

const CallersFile = z.strictObject({
  callers: z.array(
    z.strictObject({
      // In-process calls go by `local`: a caller of that id would share their keys.
      id: z
        .string('text')
        .regex(/^[A-Za-z0-9._:-]{1,64}$/, '1 to 64 of A-Z, a-z, 0-9, ".", "_", ":" and "-"')
        .refine((id) => id !== 'local', 'another id: "local" is who calls inside the process'),
      name: z.string('text').min(1, '1 to 100 characters').max(100, '1 to 100 characters'),
      // Whoever asks for something must not be the one who approves it.
      scopes: z
        .array(z.enum(SCOPES, `one of ${SCOPES.join(', ')}`), 'a list')
        .refine(
          (scopes) => !scopes.includes('runs:approve') || !scopes.some((scope) => ASKING.has(scope)),
          'runs:approve goes with runs:resume only: give the person who approves a caller of its own',
        ),
      sha256: z.string('64 lowercase hex digits').regex(/^[0-9a-f]{64}$/, '64 lowercase hex digits'),
    }),
  ),
})

/**
 * A new random token of 256 bits and the record to store for it. The token is shown here and never again. To
 * replace a token while effects and results stay the same caller's, give the `id` of the old record.
 */
export function createCallerToken(options: {
  readonly name: string
  readonly scopes: readonly Scope[]
  /** Default: a new one. */
  readonly id?: string
}): { readonly token: string; readonly record: CallerRecord } {
  const { name, scopes, id = `caller_${randomBytes(8).toString('hex')}` } = options
  const token = newCallerToken()
  return { token, record: callerRecord(token, { id, name, scopes }) }
}

/** 256 random bits, in a form that scanners and our logs know. */
export function newCallerToken(): string {
  return `hpc_${randomBytes(32).toString('base64url')}`
}

/** The record of a token that was made elsewhere. It must be as random: 256 bits. */
export function callerRecord(token: string, { id, name, scopes }: Caller): CallerRecord {
  return { id, name, scopes: [...scopes], sha256: digest(token).toString('hex') }
}

/** Callers that are known from the start. */
export function callersOf(records: readonly CallerRecord[]): Callers {
  const known = records.map((record) => ({ record, digest: Buffer.from(record.sha256, 'hex') }))
  return {
    find: (token) => {
      const asked = digest(token)
      // Every record is compared, so that the time taken says nothing about which one it was.
      const found = known.filter((one) => timingSafeEqual(one.digest, asked))[0]?.record
      return found && { id: found.id, name: found.name, scopes: found.scopes }
    },
  }
}

/**
 * Callers from a file `{"callers":[{"id","name","scopes","sha256"}]}`, looked at again for every call: one that was
 * taken out is refused from then on. While the file cannot be read everybody is refused. Throws
 * `CALLERS_UNREADABLE` when it cannot be read now.
 */
export function readCallers(file: string): Callers {
  let text = readText(file)
  let callers = parseCallers(text, file)
  return {
    find: (token) => {
      const now = readText(file)
      if (now !== text) {
        callers = parseCallers(now, file)
        text = now
      }
      return callers.find(token)
    },
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw unreadable(file, messageOf(cause), cause)
  }
}

function parseCallers(text: string, file: string): Callers {
  return callersOf(parseCallerRecords(text, file))
}

/** What such a file holds. Throws `CALLERS_UNREADABLE`. */
export function parseCallerRecords(text: string, file: string): readonly CallerRecord[] {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw unreadable(file, 'it is not JSON', cause)
  }
  const parsed = CallersFile.safeParse(json)
  if (!parsed.success) throw unreadable(file, problemsOf(parsed.error), parsed.error)
  return parsed.data.callers
}

/** `callers[0].sha256: 64 lowercase hex digits`, joined by semicolons. Never what stands there: it may be a token. */
function problemsOf({ issues }: z.ZodError): string {
  return issues
    .map(({ path, message }) => {
      const at = z.core.toDotPath(path)
      return at === '' ? message : `${at}: ${message}`
    })
    .join('; ')
}

function unreadable(file: string, why: string, cause: unknown): HoldpointError {
  return new HoldpointError(
    'CALLERS_UNREADABLE',
    `The caller tokens (CALLER_TOKENS_FILE) cannot be read from ${file}: ${why}. ` +
      'Expected {"callers":[{"id","name","scopes","sha256"}]}. Until then no caller is known.',
    { cause },
  )
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
