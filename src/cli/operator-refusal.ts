import { z } from 'zod'

import type { Call } from '../machineid/calls.ts'
import { PATHS } from '../machineid/paths.ts'
import { redact } from '../redact.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { HttpAnswer } from './http.ts'
import type { KeyAtHand } from './keys-at-hand.ts'
import { sentence } from './sentence.ts'

const Refused = z.object({ code: z.string(), message: z.string(), epoch: z.number().optional() })

/** The body of an answer that is no refusal. */
export function checked({ status, body }: HttpAnswer, call: Call, key: KeyAtHand): unknown {
  if (status === 200 || status === 201) return body
  throw refusal(status, body, key, call)
}

/** Where the epoch stands that a restore needs. */
const LOOK: Readonly<Record<string, string>> = {
  [PATHS.lockRelease]: 'holdpoint lock ls',
  [PATHS.orgEnable]: 'holdpoint org usage',
}

export function refusal(status: number, body: unknown, key: KeyAtHand, call?: Call): CliError {
  const parsed = Refused.safeParse(body)
  if (!parsed.success)
    return new CliError(
      'ANSWER_UNREADABLE',
      `The control plane answered with status ${status}. Look at its log.`,
    )
  const { code, epoch } = parsed.data
  const message = redact(parsed.data.message)
  const refused = (text: string, exit: number) => new CliError(code, text, exit, { epoch })
  if (isAboutKey(status, code)) return refused(`${message} The key is ${key.from}.`, EXIT.denied)
  if (status === 403) return refused(message, EXIT.denied)
  if (code === 'EPOCH_STALE') {
    const look = LOOK[call?.path ?? ''] ?? 'holdpoint devices ls'
    return refused(`${message} Somebody changed it meanwhile. Look at it with: ${look}`, EXIT.error)
  }
  const does = call?.does ?? 'look'
  return refused(status >= 500 && does !== 'look' ? `${message} ${UNSURE[does]}` : message, EXIT.error)
}

function isAboutKey(status: number, code: string): boolean {
  return status === 401 || (status === 403 && (code.startsWith('KEY_') || code === 'INSUFFICIENT_SCOPE'))
}

const UNSURE = {
  stop: 'The stop may or may not have been made: repeat it, a stop is idempotent.',
  change: 'The change may or may not have been made: look before you repeat it.',
} as const

/** What is not known after a request that was sent and not answered. */
export function interrupted(error: unknown, { does }: Call): unknown {
  if (!(error instanceof CliError) || does === 'look') return error
  const isUnsure = error.code === 'INTERRUPTED' || (error.code === 'UNREACHABLE' && !wasNeverSent(error))
  if (!isUnsure) return error
  return new CliError(error.code, `${sentence(error.message)} ${UNSURE[does]}`, error.status, {
    cause: error.cause,
  })
}

const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'])

/** Whether the request cannot have reached anybody. */
export function wasNeverSent({ cause }: CliError): boolean {
  return cause instanceof Error && 'code' in cause && NEVER_SENT.has(String(cause.code))
}

const GOES_BY = new Set([
  'UNREACHABLE',
  // A proxy before a control plane that is not there.
  'ANSWER_UNREADABLE',
  'OVERLOADED',
  'STORE_UNAVAILABLE',
  'STORE_OUTCOME_UNKNOWN',
  'INTERNAL',
  'RATE_LIMITED',
  'TOO_MANY_STREAMS',
])

/** No answer, or one that says no more than "not now": what is urgent is tried again. */
export function goesBy(error: CliError): boolean {
  return GOES_BY.has(error.code)
}

const NOT_OURS = new Set(['ANSWER_UNREADABLE', 'NOT_FOUND'])

/** Whether somebody answers a call that every control plane has as one that does not know it. */
export function isNotOurs(error: unknown): boolean {
  return error instanceof CliError && NOT_OURS.has(error.code)
}
