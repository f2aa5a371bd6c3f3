import {
  KeyBurnRequest,
  KeyBurnResponse,
  KeyCreateRequest,
  KeyCreateResponse,
  KeyListResponse,
  KeyRotateRequest,
  KeyRotateResponse,
  KeysQuery,
} from '../machineid/wire-keys.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, type ApiContext, type Route } from './api-route.ts'
import { MAY_MANAGE } from './key-kinds.ts'
import type { ListedKey } from './key-service.ts'
import { keyPrefix, keyProblem } from './keys.ts'
import type { KeyRecord } from './records.ts'
import { wrongKind } from './refusal.ts'
import { isoOrNull } from './times.ts'

export function keyRoutes(context: ApiContext): Route[] {
  return [listRoute(context), createRoute(context), rotateRoute(context), burnRoute(context)]
}

function listRoute(context: ApiContext): Route {
  const { service } = context
  return orgRoute(context, MAY_MANAGE, {
    method: 'get',
    path: PATHS.keys,
    handler: 'org/keys',
    summary: 'Lists the keys of the org, ended ones too, without their secrets',
    input: KeysQuery,
    output: KeyListResponse,
    run: async ({ orgId }) => {
      const nowMs = service.nowMs()
      const keys = await service.listKeys(orgId)
      return { body: { orgId, keys: keys.map((key) => keyRow(key, nowMs)) } }
    },
  })
}

function createRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_MANAGE, {
    method: 'post',
    path: PATHS.keys,
    handler: 'org/keys',
    summary: 'Issues a key, and shows it once',
    input: KeyCreateRequest,
    output: KeyCreateResponse,
    run: async ({ input, caller, orgId }) => {
      const issued = await context.service.issueKey({ ...input, orgId, caller })
      return { body: { orgId, ...issued, kind: input.kind } }
    },
  })
}

function rotateRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_MANAGE, {
    method: 'post',
    path: PATHS.keyRotate,
    handler: 'org/keys/rotate',
    summary: 'Puts a new key in the place of one, which goes on working for the overlap',
    input: KeyRotateRequest,
    output: KeyRotateResponse,
    refusals: ['KEY_NOT_FOUND', 'KEY_ENDED'],
    run: async ({ input, id, caller, orgId }) => {
      const { replaces, ...rotated } = await context.service.rotateKey(caller, orgId, { ...input, keyId: id })
      return {
        body: { ...rotated, replaces: { keyId: replaces.keyId, endsAt: isoOrNull(replaces.endsAtMs) } },
      }
    },
  })
}

/** Whoever holds a key may end it: a leaked one can be burned with itself. */
const isItself = (key: KeyRecord, id: string) => key.keyId === id

function burnRoute(context: ApiContext): Route {
  const { service } = context
  return orgRoute(context, MAY_MANAGE, {
    method: 'post',
    path: PATHS.keyBurn,
    handler: 'org/keys/burn',
    summary: 'Ends a key at once and for good; a key of any kind may burn itself',
    stop: true,
    input: KeyBurnRequest,
    output: KeyBurnResponse,
    refusals: ['KEY_NOT_FOUND'],
    alsoAdmits: isItself,
    preview: ({ id, orgId, key: { kind } }) => {
      if (!MAY_MANAGE.includes(kind)) throw wrongKind(kind, MAY_MANAGE)
      return service.previewBurnKey(orgId, { keyId: id })
    },
    run: async ({ input, id, caller, orgId }) => ({
      body: { ...(await service.burnKey(caller, orgId, { ...input, keyId: id })) },
    }),
  })
}

function keyRow(key: ListedKey, nowMs: number) {
  const { keyId, kind, name, bindings, createdBy, replacedBy } = key
  return {
    keyId,
    kind,
    name,
    prefix: keyPrefix(kind, keyId),
    bindings,
    state: stateOf(key, nowMs),
    createdAt: isoOrNull(key.createdAtMs),
    createdBy,
    lastUsedAt: isoOrNull(key.lastUsedAtMs),
    endsAt: isoOrNull(key.endsAtMs),
    endedAt: isoOrNull(key.endedAtMs),
    replacedBy,
  }
}

function stateOf(key: KeyRecord, nowMs: number) {
  const problem = keyProblem(key, nowMs)
  if (problem !== undefined) return problem === 'KEY_BURNED' ? 'burned' : 'expired'
  return key.endsAtMs === null ? 'active' : 'ending'
}
