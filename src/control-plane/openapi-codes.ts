import { KEY_KINDS } from '../machineid/wire.ts'
import type { Route } from './api-route.ts'
import { REFUSALS } from './refusal.ts'

/** A call as openapi.json describes it. */
export type DescribedRoute = Omit<Route, 'handle'>

const STATUS_OF = {
  ...REFUSALS,
  MALFORMED_JSON: 400,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  STORE_UNAVAILABLE: 503,
  STORE_OUTCOME_UNKNOWN: 503,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof STATUS_OF

/** The codes that a call can be refused with, by HTTP status. */
export type CodesByStatus = ReadonlyMap<number, readonly ErrorCode[]>

const EVERYWHERE: readonly ErrorCode[] = ['HOST_NOT_ALLOWED', 'STORE_UNAVAILABLE']
const WITH_KEY: readonly ErrorCode[] = [
  'KEY_MISSING',
  'KEY_INVALID',
  'KEY_BURNED',
  'KEY_EXPIRED',
  'INSUFFICIENT_SCOPE',
]
/** What a call with the cookie of a session is refused with beside what its key is. */
const WITH_COOKIE: readonly ErrorCode[] = ['SESSION_ENDED', 'ORIGIN_NOT_ALLOWED']
const WITH_BODY: readonly ErrorCode[] = [
  'BAD_REQUEST',
  'MALFORMED_JSON',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
]
const PLATFORM: readonly ErrorCode[] = ['PLATFORM_TOKEN_INVALID', 'PLATFORM_TOKEN_NOT_CONFIGURED']

/** What every call of its kind is refused with, and what this one is beside that. */
export function codesOf(
  route: DescribedRoute,
  takes: { readonly fields: boolean; readonly deviceId: boolean },
): CodesByStatus {
  const { method, path, access, refusals = [], stop, ofAgents } = route
  return byStatus([
    ...(method === 'post' ? WITH_BODY : []),
    ...(takes.fields || path.includes(':') ? (['BAD_REQUEST'] as const) : []),
    ...(takes.deviceId ? (['DEVICE_ID_INVALID'] as const) : []),
    ...ofAccess(access, stop === true),
    ...(takesCookie(route)
      ? [...WITH_COOKIE, ...(method === 'post' ? (['CSRF_REFUSED'] as const) : [])]
      : []),
    ...refusals,
    ...(method === 'post' && ofAgents !== true ? (['STORE_OUTCOME_UNKNOWN'] as const) : []),
    ...EVERYWHERE,
  ])
}

/** Wherever operators make a call with a key, a person who is signed in makes it with the cookie. */
export function takesCookie({ access, ofAgents }: Pick<DescribedRoute, 'access' | 'ofAgents'>): boolean {
  return Array.isArray(access) && ofAgents !== true
}

function ofAccess(access: DescribedRoute['access'], isStop: boolean): readonly ErrorCode[] {
  if (access === 'none') return []
  if (access === 'open') return [...PLATFORM, 'ORIGIN_NOT_ALLOWED']
  if (access === 'platform') return PLATFORM
  const ofKeys = KEY_KINDS.every((kind) => access.includes(kind))
    ? WITH_KEY.filter((code) => code !== 'INSUFFICIENT_SCOPE')
    : WITH_KEY
  return isStop ? ofKeys : [...ofKeys, 'RATE_LIMITED']
}

export function byStatus(codes: Iterable<ErrorCode>): CodesByStatus {
  const known = new Set(codes)
  const sorted = (Object.keys(STATUS_OF) as ErrorCode[]).filter((code) => known.has(code))
  return Map.groupBy(
    sorted.toSorted((a, b) => STATUS_OF[a] - STATUS_OF[b]),
    (code) => STATUS_OF[code],
  )
}

/** What each code means, for a reader of openapi.json. */
export const MEANINGS: Record<ErrorCode, string> = {
  BAD_REQUEST: 'a field or the URL is not as described; `message` names the field',
  MALFORMED_JSON: 'the body is not JSON in UTF-8',
  TOO_MANY_DEVICES: 'the pattern or label matches more devices than one call changes; use a lock',
  DEVICE_ID_INVALID: 'a device ID is missing or outside the grammar, or looks like a key',
  KEY_MISSING: 'no key was sent',
  KEY_INVALID: 'the key is not known here',
  KEY_BURNED: 'the key was burned',
  SESSION_REQUIRED: 'the call is about a session, and came without its cookie',
  SESSION_ENDED: 'the session was signed out, idle for too long, or too old: sign in again',
  KEY_EXPIRED: 'the key was rotated, and its overlap has passed',
  PLATFORM_TOKEN_INVALID: 'the platform token is missing or wrong',
  INSUFFICIENT_SCOPE: 'the kind of the key does not allow this call',
  KEY_NOT_BOUND_TO_DEVICE: 'the runtime key is bound to other devices',
  PLATFORM_TOKEN_NOT_CONFIGURED: 'the control plane runs without a platform token',
  HOST_NOT_ALLOWED: 'the Host header is not one that this control plane answers to',
  ORIGIN_NOT_ALLOWED: 'a web page of another origin made the call',
  CSRF_REFUSED: 'the header `x-csrf-token` is not the `csrfToken` of the session',
  HTTPS_REQUIRED: 'over plain HTTP one signs in on the same machine only',
  DEVICE_REVOKED: 'the device is revoked, and registering is no restore',
  DEVICE_REMOVED: 'the device was removed; an operator can bring it back with `restoreRemoved` and `ifEpoch`',
  DEVICE_LIMIT_REACHED: 'the plan has no slot left',
  NOT_FOUND: 'there is nothing of that name here',
  ORG_NOT_FOUND: 'there is no such org',
  DEVICE_NOT_REGISTERED: 'the org has no such device',
  LOCK_NOT_FOUND: 'the org has no such lock',
  KEY_NOT_FOUND: 'the org has no such key',
  APPROVAL_NOT_FOUND: 'the org has no such approval, or the key may not see it',
  METHOD_NOT_ALLOWED: 'the call takes another method; the header `allow` says which',
  APPROVAL_CONFLICT: 'the id stands for another call already: ask under a new one',
  APPROVAL_NOT_WAITING:
    'it was decided or withdrawn, or has expired; `state` and `decidedBy` say how and by whom',
  APPROVAL_DIGEST_MISMATCH: 'the digest is not that of its arguments: look at it again',
  ORG_DISABLED: 'the org is disabled, and its approvals are frozen: nothing was decided',
  DRILL_EXISTS: 'the org has a drill of that id already: choose another one',
  DRILL_RUNNING: 'a drill is running already: wait for its end',
  DRILLS_NOT_CONFIGURED: 'this control plane knows no tool server to drill; `message` says what to set',
  EPOCH_STALE: 'something happened since that epoch: look at it again; `epoch` is the current one',
  KEY_ENDED: 'the key was burned, rotated or has expired',
  LAST_OWNER: 'an org keeps at least one owner',
  TOO_MANY_OWNERS: 'the org has as many owners as it may have',
  RECOVERY_LINK_INVALID: 'the link is unknown, was used or has expired',
  BODY_TOO_LARGE: 'the body is over `x-max-body-bytes`',
  UNSUPPORTED_MEDIA_TYPE: 'the body is not `application/json`, or is compressed',
  WRONG_LANE: 'the operator port answers no validates and streams no stops: ask the agent port',
  EPOCH_REQUIRED: 'a restore takes `ifEpoch`; `epoch` is the current one',
  RATE_LIMITED: 'too many calls; wait `retryAfterSeconds`, as the header `retry-after` says too',
  TOO_MANY_APPROVALS: 'too many approvals wait: decide or withdraw some first',
  TOO_MANY_STREAMS: 'too many streams are open',
  OVERLOADED: 'it is too busy to answer in time, or is being stopped: take it as a no',
  STORE_UNAVAILABLE: 'the store could not confirm it: take it as not done',
  STORE_OUTCOME_UNKNOWN: 'the store did not confirm it, and it may be done or not: look, and ask again',
}
