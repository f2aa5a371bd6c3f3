import { deviceIdProblem } from '../guard/device.ts'
import { own } from '../machineid/strict-json.ts'
import { MAX_BATCH_DEVICES } from '../machineid/wire.ts'
import { invalidDeviceId, Refusal } from './refusal.ts'

// ValidateRequest and ValidateBatchRequest of machineid/wire.ts, by hand: this runs at every hold point, and a test
// holds both against the schemas.

export interface Question {
  readonly deviceIds: readonly string[]
  readonly nonce: string | null
  readonly context: QuestionContext
}

export interface QuestionContext {
  readonly boundary: string | null
  readonly tool: string | null
  readonly callId: string | null
  readonly runId: string | null
  readonly replica: string | null
}

type Fields = Readonly<Record<string, unknown>>

/** Throws `BAD_REQUEST` or `DEVICE_ID_INVALID`. */
export function parseValidate(body: unknown): Question {
  const fields = fieldsOf(body, 'The body')
  const deviceIds = [deviceIdOf(own(fields, 'deviceId'), 'deviceId')]
  const nonce = own(fields, 'nonce')
  return {
    deviceIds,
    nonce: nonce === undefined ? null : nonceOf(nonce),
    context: contextOf(own(fields, 'context')),
  }
}

/** Throws `BAD_REQUEST` or `DEVICE_ID_INVALID`. */
export function parseValidateBatch(body: unknown): Question {
  const fields = fieldsOf(body, 'The body')
  const deviceIds = own(fields, 'deviceIds')
  if (!Array.isArray(deviceIds) || deviceIds.length < 1 || deviceIds.length > MAX_BATCH_DEVICES) {
    throw new Refusal('BAD_REQUEST', `"deviceIds" must be a list of 1 to ${MAX_BATCH_DEVICES} device IDs.`)
  }
  return {
    deviceIds: deviceIds.map((value, index) => deviceIdOf(value, `deviceIds[${index}]`)),
    nonce: nonceOf(own(fields, 'nonce')),
    context: contextOf(own(fields, 'context')),
  }
}

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new Refusal('BAD_REQUEST', `${what} must be a JSON object.`)
}

function deviceIdOf(value: unknown, field: string): string {
  if (deviceIdProblem(value) !== undefined) throw invalidDeviceId(value, field)
  return value as string
}

function nonceOf(value: unknown): string {
  if (typeof value === 'string' && value.length >= 16 && value.length <= 128) return value
  throw new Refusal('BAD_REQUEST', '"nonce" must be a string of 16 to 128 characters, new for each question.')
}

const NO_CONTEXT: QuestionContext = { boundary: null, tool: null, callId: null, runId: null, replica: null }

function contextOf(value: unknown): QuestionContext {
  if (value === undefined) return NO_CONTEXT
  const fields = fieldsOf(value, '"context"')
  return {
    boundary: label(fields, 'boundary'),
    tool: label(fields, 'tool'),
    callId: label(fields, 'callId'),
    runId: label(fields, 'runId'),
    replica: label(fields, 'replica'),
  }
}

function label(fields: Fields, name: keyof QuestionContext): string | null {
  const value = own(fields, name)
  if (value === undefined) return null
  if (typeof value === 'string' && value.length <= 256) return value
  throw new Refusal('BAD_REQUEST', `"context.${name}" must be a string of at most 256 characters.`)
}
