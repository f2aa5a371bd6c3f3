import { z } from 'zod'

import { deviceIdProblem } from '../guard/device.ts'
import { redact } from '../redact.ts'
import { orList } from './wire.ts'

// The pieces that requests and answers are made of. The messages of the requests' schemas follow the name of the
// field: "reason" must be …

export const must = (expected: string) => ({ error: `must be ${expected}` })

/** Of whole characters and without NUL: a store could not keep anything else as it is. */
export function text(minLength: number, maxLength: number) {
  return anyText(minLength, maxLength).refine(
    isStorable,
    must('well-formed Unicode, without half a character or NUL'),
  )
}

export function isStorable(value: string): boolean {
  return value.isWellFormed() && !value.includes('\0')
}

function anyText(minLength: number, maxLength: number) {
  const error = must(
    minLength === 0
      ? `a string of at most ${maxLength} characters`
      : `a string of ${minLength} to ${maxLength} characters`,
  )
  return z.string(error).min(minLength, error).max(maxLength, error)
}

export function choice<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, must(orList(values)))
}

export function wholeNumber(min: number, max: number) {
  const error = must(`a whole number from ${min} to ${max}`)
  return z.number(error).int(error).min(min, error).max(max, error)
}

/** The same, out of a query string. */
export function wholeNumberText(min: number, max: number) {
  const error = must(`a whole number from ${min} to ${max}`)
  return z.coerce.number(error).int(error).min(min, error).max(max, error)
}

export const deviceId = z.string().superRefine((value, context) => {
  const problem = deviceIdProblem(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

const PATTERN = must(
  'a device ID or a pattern of up to 8 segments with * for a whole one, for example openai-agent:prod:payments:*',
)
/** An exact device ID, or one with `*` for a whole segment. A last `*` stands for one or more segments. */
export const devicePattern = z
  .string(PATTERN)
  .max(128, PATTERN)
  .refine((pattern) => isDevicePattern(pattern), PATTERN)

export function isDevicePattern(pattern: string): boolean {
  const example = pattern.split(':').map((segment) => (segment === '*' ? 'x' : segment))
  return deviceIdProblem(example.join(':')) === undefined
}

const EPOCH = must('an epoch: a whole number, 0 or above')
export const epoch = z.number(EPOCH).int(EPOCH).nonnegative(EPOCH)
/** Kept in the clear. A key that somebody quotes in it, such as in the reason for its burn, is blotted out. */
export const reason = text(1, 500).overwrite(redact)
// A question is not refused for half a character: work waits for the answer, and clients cut texts to length.
export const nonce = anyText(16, 128)
const label = anyText(0, 256)
/** After how long a stop counts as overdue, 1 minute to 1 year. It is never undone by itself. */
export const remindAfterSeconds = wholeNumber(60, 365 * 86_400)
/** Looks at what a stop would hit, and changes nothing. */
export const PreviewQuery = z.object({ preview: choice(['true', 'false']).optional() })

/** Where a question comes from; each field at most 256 characters, for the record only. */
export const ValidateContext = z.object(
  {
    boundary: label.optional(),
    tool: label.optional(),
    callId: label.optional(),
    runId: label.optional(),
    replica: label.optional(),
  },
  must('an object'),
)

/** ISO 8601, in UTC. */
export const time = z.iso.datetime()
const TIME = must('a time in ISO 8601, for example 2026-12-31T23:59:59Z')
export const timeGiven = z.iso.datetime({ offset: true, ...TIME })

const CURSOR = must('the nextCursor of the page before')
export const cursor = z.string(CURSOR).max(256, CURSOR)
export const pageLimit = wholeNumberText(1, 1000)
export const nextCursor = z.string().nullable()

/** What every answer but an error begins with. */
export const okFields = { status: z.literal('ok'), handler: z.string(), request_id: z.string() }
