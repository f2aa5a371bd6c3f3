import type { DeviceDecision } from '../guard/authority.ts'
import type { LocalDenialCode } from '../guard/decision.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import { isObject, own, parseStrictObject, type JsonObject } from './strict-json.ts'
import { DECISION_CODE, REQUEST_ID } from './wire.ts'

// Written out by hand because every hold point waits for it. It accepts what ValidateBatchResponse of wire.ts
// describes, which a test holds it to, and of that only what answers this very question.

export interface BatchQuestion {
  readonly deviceIds: readonly string[]
  readonly nonce: string
  /** The org whose answers count, once it is known. */
  readonly orgId: string | undefined
}

export interface BatchAnswer {
  readonly orgId: string
  readonly orgEpoch: number
  readonly requestId: string
  readonly decisions: readonly DeviceDecision[]
}

/** The answer to `validate_batch`. Throws the denial's code when it is not one, or not the one to `asked`. */
export function readBatchAnswer(bytes: Uint8Array, asked: BatchQuestion): BatchAnswer {
  const body = parseStrictObject(bytes)
  const items = body && own(body, 'decisions')
  if (body === undefined || !Array.isArray(items)) throw badBody()
  const verdicts = items.map(readVerdict)
  const requestId = requestIdOf(body)
  const orgEpoch = own(body, 'orgEpoch')
  if (!isEpoch(orgEpoch) || verdicts.some((verdict) => verdict.epoch === undefined)) throw badBody()
  const orgId = own(body, 'orgId')
  if (!isNonEmpty(orgId) || orgId !== (asked.orgId ?? orgId)) {
    throw refuse('AUTHORITY_WRONG_DEVICE', 'The answer is not from the org that was asked.')
  }
  const { deviceIds } = asked
  if (
    verdicts.length !== deviceIds.length ||
    verdicts.some(({ deviceId }, at) => deviceId !== deviceIds[at])
  ) {
    throw wrongDevice()
  }
  if (own(body, 'nonce') !== asked.nonce) {
    throw refuse('AUTHORITY_STALE_ANSWER', 'The answer does not carry the nonce of this question.')
  }
  const decisions = verdicts.map((verdict, at) => decide(verdict, deviceIds[at] as string, body))
  return { orgId, orgEpoch, requestId, decisions }
}

/** The answer to `validate`, of any generation that has `allowed`, `code` and `request_id`. Throws as above. */
export function readSingleAnswer(
  bytes: Uint8Array,
  deviceId: string,
): { readonly decision: DeviceDecision; readonly requestId: string } {
  const body = parseStrictObject(bytes)
  if (body === undefined) throw badBody()
  const verdict = readVerdict(body)
  const requestId = requestIdOf(body)
  if (Object.hasOwn(body, 'deviceId') && verdict.deviceId !== deviceId) throw wrongDevice()
  return { decision: decide(verdict, deviceId, body), requestId }
}

export function isEpoch(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isNonEmpty(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

interface Verdict {
  readonly deviceId: unknown
  readonly allowed: boolean
  readonly code: string
  readonly epoch: number | undefined
  readonly hasError: boolean
}

function readVerdict(item: unknown): Verdict {
  if (!isObject(item)) throw badBody()
  const allowed = own(item, 'allowed')
  const code = own(item, 'code')
  const epoch = own(item, 'epoch')
  if (typeof allowed !== 'boolean' || typeof code !== 'string' || !DECISION_CODE.test(code)) throw badBody()
  if (epoch !== undefined && !isEpoch(epoch)) throw badBody()
  return { deviceId: own(item, 'deviceId'), allowed, code, epoch, hasError: Object.hasOwn(item, 'error') }
}

function decide(verdict: Verdict, deviceId: string, body: JsonObject): DeviceDecision {
  const { allowed, code, epoch } = verdict
  if (allowed !== (code === 'ALLOW') || (allowed && (verdict.hasError || Object.hasOwn(body, 'error')))) {
    throw refuse('AUTHORITY_CONTRADICTION', 'The answer says both yes and no.')
  }
  return allowed ? { deviceId, allowed, epoch } : { deviceId, allowed, code, epoch }
}

function requestIdOf(body: JsonObject): string {
  const requestId = own(body, 'request_id')
  if (typeof requestId === 'string' && REQUEST_ID.test(requestId)) return requestId
  throw badBody()
}

// None of these says what the body held: that may be another's data, or text meant for a model.
function badBody(): AuthorityFailure {
  return refuse('AUTHORITY_BAD_BODY', 'The answer is not the JSON object that was to come.')
}

function wrongDevice(): AuthorityFailure {
  return refuse('AUTHORITY_WRONG_DEVICE', 'The answer is not about the devices that were asked about.')
}

function refuse(code: LocalDenialCode, message: string): AuthorityFailure {
  return new AuthorityFailure(code, message)
}
