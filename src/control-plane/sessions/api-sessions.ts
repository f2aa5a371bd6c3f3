import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'

import { PATHS } from '../../machineid/paths.ts'
import {
  SessionEndRequest,
  SessionEndResponse,
  SessionQuery,
  SessionRefreshRequest,
  SessionResponse,
  SessionStartRequest,
  SIGN_IN_KINDS,
} from '../../machineid/wire-sessions.ts'
import { orgRoute, route, type ApiContext, type Call, type JsonReply, type Route } from '../api-route.ts'
import { MAY_MANAGE } from '../key-kinds.ts'
import { keyProblem } from '../keys.ts'
import type { KeyRecord } from '../records.ts'
import { endedKey, invalidKey, Refusal, wrongKind } from '../refusal.ts'
import { isOfOperators, remoteAddressOf } from '../remote-address.ts'
import { missingSession, plainHttp } from './session-refusals.ts'
import type { HeldSession } from './session-service.ts'
import { csrfTokenOf } from './session-token.ts'
import { createSignInLimit } from './sign-in-limit.ts'

interface SignIn extends Call<z.infer<typeof SessionStartRequest>> {
  readonly request: IncomingMessage
}

export function sessionRoutes(context: ApiContext): Route[] {
  const { service, ownPages } = context
  return [
    route<z.infer<typeof SessionStartRequest>, Pick<SignIn, 'caller' | 'request'>>(
      context,
      'none',
      {
        method: 'post',
        path: PATHS.session,
        handler: 'session',
        summary:
          'Signs a browser in, with a key or a link that was mailed to an owner: the answer sets the cookie',
        input: SessionStartRequest,
        output: SessionResponse,
        refusals: [
          ...([
            'KEY_INVALID',
            'KEY_BURNED',
            'KEY_EXPIRED',
            'INSUFFICIENT_SCOPE',
            'RECOVERY_LINK_INVALID',
          ] as const),
          ...(['ORIGIN_NOT_ALLOWED', 'HTTPS_REQUIRED', 'WRONG_LANE', 'RATE_LIMITED'] as const),
        ],
        run: createSignIn(context),
      },
      async (request, requestId) => {
        if (!isOfOperators(request)) throw wrongLane()
        ownPages.assertOwn(request)
        if (ownPages.cookieFor(request) === undefined) throw plainHttp()
        const origin = remoteAddressOf(request)
        return { request, caller: { actor: 'recovery', kind: 'recovery', requestId, origin } }
      },
    ),
    orgRoute(context, SIGN_IN_KINDS, {
      method: 'get',
      path: PATHS.session,
      handler: 'session',
      summary: 'Says who is signed in, until when, and what a POST proves itself with',
      input: SessionQuery,
      output: SessionResponse,
      refusals: ['SESSION_REQUIRED'],
      run: async ({ session, key, request }) => {
        const token = ownPages.tokenOf(request)
        if (session === undefined || token === undefined) throw missingSession()
        return { body: bodyOf({ session, key, token }) }
      },
    }),
    orgRoute(context, SIGN_IN_KINDS, {
      method: 'post',
      path: PATHS.sessionRefresh,
      handler: 'session/refresh',
      summary: 'Keeps a session for another hour while a person is active, with a new token in its cookie',
      input: SessionRefreshRequest,
      output: SessionResponse,
      refusals: ['SESSION_REQUIRED'],
      run: async ({ caller, orgId, session, request }) => {
        const token = ownPages.tokenOf(request)
        if (session === undefined || token === undefined) throw missingSession()
        return answer(context, request, await service.refreshSession(caller, orgId, token))
      },
    }),
    orgRoute(context, SIGN_IN_KINDS, {
      method: 'post',
      path: PATHS.sessionEnd,
      handler: 'session/end',
      summary: 'Signs out: this session, all of the same key or owner, or all of the org',
      input: SessionEndRequest,
      output: SessionEndResponse,
      refusals: ['SESSION_REQUIRED'],
      run: async ({ caller, orgId, key, session, request, input: { scope = 'this' } }) => {
        if (scope === 'this' && session === undefined) throw missingSession()
        if (scope === 'org' && !MAY_MANAGE.includes(key.kind)) throw wrongKind(key.kind, MAY_MANAGE)
        const ended = await service.endSessions(caller, { orgId, scope, keyId: key.keyId, session })
        return { body: { orgId, ended }, ...(session && withCookie(context, request)) }
      },
    }),
  ]
}

function createSignIn(context: ApiContext): (call: SignIn) => Promise<JsonReply> {
  const { service, recovery, ownPages } = context
  const failed = createSignInLimit(context.limited, () => context.store.shared)

  const genuine = async (given: string): Promise<KeyRecord> => {
    const key = await service.findKey(given)
    if (key === undefined) throw invalidKey()
    const problem = keyProblem(key, service.nowMs())
    if (problem !== undefined) throw endedKey(problem)
    if (!KINDS.has(key.kind)) throw wrongKind(key.kind, SIGN_IN_KINDS)
    return key
  }
  const byKey = async (given: string, { caller }: SignIn): Promise<HeldSession> => {
    const key = await genuine(given).catch(async (error: unknown) => {
      if (error instanceof Refusal) await failed(caller.origin)
      throw error
    })
    context.quota(key)
    service.decisions.keyUsed(key.keyId)
    const { keyId, kind } = key
    return service.startSession({ ...caller, actor: keyId, kind, keyId }, key)
  }
  /** A new sign-in in the same browser takes the place of the one before. */
  const endBefore = async (request: IncomingMessage, { caller }: SignIn) => {
    const token = ownPages.tokenOf(request)
    const before = token === undefined ? undefined : await service.findSession(token).catch(ignoreRefusal)
    if (before === undefined) return
    const { session, key } = before
    await service.endSessions(
      { ...caller, actor: key.keyId, kind: key.kind },
      { orgId: session.orgId, scope: 'this', keyId: key.keyId, session },
    )
  }

  return async (call) => {
    const { key, link = '' } = call.input
    const held = key === undefined ? await recovery.signIn(call.caller, link) : await byKey(key, call)
    await endBefore(call.request, call)
    return answer(context, call.request, held)
  }
}

const KINDS = new Set<string>(SIGN_IN_KINDS)

function ignoreRefusal(error: unknown): undefined {
  if (!(error instanceof Refusal)) throw error
}

function answer(context: ApiContext, request: IncomingMessage, held: HeldSession): JsonReply {
  return { body: bodyOf(held), ...withCookie(context, request, held.token) }
}

function withCookie({ ownPages }: ApiContext, request: IncomingMessage, token?: string) {
  const cookie = ownPages.cookieFor(request, token)
  return cookie === undefined ? {} : { headers: { 'set-cookie': cookie } }
}

function bodyOf({ session, key, token }: HeldSession): Readonly<Record<string, unknown>> {
  const { orgId, sessionId, keyId, email, startedAtMs, endsAtMs, idleAtMs } = session
  const csrfToken = csrfTokenOf(token)
  const time = (atMs: number) => new Date(atMs).toISOString()
  const times = { startedAt: time(startedAtMs), endsAt: time(endsAtMs), idleAt: time(idleAtMs) }
  return { orgId, sessionId, keyId, kind: key.kind, email, csrfToken, ...times }
}

function wrongLane(): Refusal {
  return new Refusal(
    'WRONG_LANE',
    'People sign in on the port that OPERATOR_PORT names. On this one, which is for agents, send the key in the header x-org-key.',
  )
}
