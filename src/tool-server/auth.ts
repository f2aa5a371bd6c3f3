import type { IncomingMessage } from 'node:http'
import type { Request, RequestHandler, Response } from 'express'

import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { SCOPES, type Caller, type Callers, type Scope } from './callers.ts'
import { isLoopback } from '../loopback.ts'
import { refuse } from './refuse.ts'

/**
 * Stands for everybody when a server without callers is reached over loopback. Whatever runs on this machine could come
 * as it, agents included, so it approves nothing.
 */
const LOCAL: Caller = {
  id: 'local',
  name: 'local',
  scopes: SCOPES.filter((scope) => scope !== 'runs:approve'),
}

const BEARER = /^Bearer +(hpc_[A-Za-z0-9_-]{1,200}) *$/i

interface Identified {
  readonly caller: Caller
  /** The same caller, found anew; undefined when it is no longer known. */
  readonly again: () => Caller | undefined
}

const identified = new WeakMap<IncomingMessage, Identified>()
const scopes = new WeakMap<RequestHandler, readonly Scope[]>()

/** Lets only known callers pass. Everything that stands after it is closed to others, whatever it is. */
export function identify(callers: Callers | undefined, log: Logger): RequestHandler {
  return (request, response, next) => {
    const find = () => (callers === undefined ? localCaller(request) : callerByToken(request, callers))
    let caller: Caller | undefined
    try {
      caller = find()
    } catch (thrown) {
      log.error({ err: messageOf(thrown) }, 'callers are not readable')
      return refuse(response, {
        statusCode: 503,
        code: 'CALLERS_UNREADABLE',
        message: 'Callers cannot be told apart now, so nobody is let in. The operator finds why in the log.',
      })
    }
    if (caller === undefined) return unauthenticated(request, response, log)
    identified.set(request, { caller, again: find })
    next()
  }
}

/** Lets only callers pass that have one of these scopes. */
export function requireScope(...anyOf: readonly [Scope, ...Scope[]]): RequestHandler {
  const handler: RequestHandler = (request, response, next) => {
    if (anyOf.some((scope) => callerOf(request).scopes.includes(scope))) return next()
    response.setHeader('www-authenticate', `Bearer error="insufficient_scope", scope="${anyOf.join(' ')}"`)
    refuse(response, {
      statusCode: 403,
      code: 'INSUFFICIENT_SCOPE',
      message:
        `This token does not have the scope ${anyOf.join(' or ')}. ` +
        'Give its caller that scope in CALLER_TOKENS_FILE, or use another token.',
    })
  }
  scopes.set(handler, anyOf)
  return handler
}

/** The scopes of which `handler` asks for one, when `requireScope` made it. */
export function scopesOf(handler: unknown): readonly Scope[] | undefined {
  return scopes.get(handler as RequestHandler)
}

/** Who sent this request. Throws when `identify` does not stand before the route. */
export function callerOf(request: IncomingMessage): Caller {
  const found = identified.get(request)
  if (found === undefined) throw new Error('This route was reached without a caller.')
  return found.caller
}

/** Whether who sent this request may still do as much: an answer that takes long must not outlive its token. */
export function isStillKnown(request: IncomingMessage): boolean {
  try {
    const now = identified.get(request)?.again()
    const { id, scopes: before } = callerOf(request)
    return now?.id === id && before.every((scope) => now.scopes.includes(scope))
  } catch {
    return false
  }
}

function localCaller(request: Request): Caller | undefined {
  return isLoopback(request.socket.remoteAddress ?? '') ? LOCAL : undefined
}

function callerByToken(request: Request, callers: Callers): Caller | undefined {
  const token = BEARER.exec(request.headers.authorization ?? '')?.[1]
  return token === undefined ? undefined : callers.find(token)
}

function unauthenticated(request: Request, response: Response, log: Logger): void {
  log.warn({ ip: request.ip, path: request.path, code: 'CALLER_UNAUTHENTICATED' }, 'caller refused')
  const challenge = request.headers.authorization === undefined ? '' : ', error="invalid_token"'
  response.setHeader('www-authenticate', `Bearer realm="holdpoint"${challenge}`)
  refuse(response, {
    statusCode: 401,
    code: 'CALLER_UNAUTHENTICATED',
    message:
      'Send a caller token that this server knows: the header "Authorization: Bearer hpc_…". ' +
      'npx holdpoint start writes one to tool-server.json in DATA_DIR; docs/operating.md says how to make more.',
  })
}
