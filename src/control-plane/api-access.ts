import type { IncomingMessage } from 'node:http'

import { carriesToken, isSameSecret } from '../bearer.ts'
import { CSRF_HEADER } from '../machineid/wire-sessions.ts'
import { KEY_HEADER } from '../machineid/wire.ts'
import { keyProblem } from './keys.ts'
import type { KeyRecord } from './records.ts'
import { endedKey, invalidKey, missingKey, Refusal } from './refusal.ts'
import type { ControlPlaneService } from './service.ts'
import type { OwnPages } from './sessions/own-pages.ts'
import { csrfRefused } from './sessions/session-refusals.ts'
import type { SessionRecord } from './sessions/session-store.ts'
import { csrfTokenOf } from './sessions/session-token.ts'

/** Who asks: a key, or a person in a session, which stands for its key. */
export interface Authenticated {
  readonly key: KeyRecord
  readonly session: SessionRecord | undefined
}

export interface KeyAccess {
  readonly service: ControlPlaneService
  readonly ownPages: OwnPages
}

/**
 * The record of the key that a request carries, or of that of its session; throws when it is no good. The cookie counts
 * only without a key, and only for a page of our own.
 */
export async function authenticate(access: KeyAccess, request: IncomingMessage): Promise<Authenticated> {
  const { service, ownPages } = access
  const given = request.headers[KEY_HEADER]
  const token = given === undefined ? ownPages.tokenOf(request) : undefined
  if (token !== undefined) return authenticateSession(access, request, token)
  if (typeof given !== 'string' || given === '') throw missingKey()
  const key = await service.findKey(given)
  if (key === undefined) throw invalidKey()
  const problem = keyProblem(key, service.nowMs())
  if (problem !== undefined) throw endedKey(problem)
  return { key, session: undefined }
}

/** A browser sends the cookie along whoever asks it to: what the page cannot have by that is asked for too. */
async function authenticateSession(
  { service, ownPages }: KeyAccess,
  request: IncomingMessage,
  token: string,
): Promise<Authenticated> {
  ownPages.assertOwn(request)
  const live = await service.findSession(token)
  const { [CSRF_HEADER]: csrf } = request.headers
  if (request.method !== 'GET' && !isSameSecret(String(csrf), csrfTokenOf(token))) throw csrfRefused()
  return live
}

/**
 * The exception to G6, for MachineID's own clients: they send a key of kind `full`, and no `ifEpoch`. A page in a browser
 * has always seen an epoch.
 */
export function mayLeaveOutEpoch({ key, session }: Authenticated): boolean {
  return key.kind === 'full' && session === undefined
}

export interface PlatformAccess {
  readonly platformToken: string | undefined
  /** True when only this machine can reach the listener. */
  readonly loopback: boolean
}

/** `open` calls take the token only when there is one, or when anyone else could reach the listener. */
export function assertPlatform(
  { platformToken, loopback }: PlatformAccess,
  access: 'platform' | 'open',
  request: IncomingMessage,
): void {
  if (platformToken === undefined) {
    if (access === 'open' && loopback) return refuseWebPages(request)
    throw new Refusal(
      'PLATFORM_TOKEN_NOT_CONFIGURED',
      'This call takes the platform token, and none is set here. Start the control plane with PLATFORM_TOKEN.',
    )
  }
  if (carriesToken(request, platformToken)) return
  throw new Refusal(
    'PLATFORM_TOKEN_INVALID',
    'Send the platform token in the header authorization: Bearer ….',
  )
}

/** Any page in a browser on this machine can post here without reading the answer; browsers name its origin. */
function refuseWebPages(request: IncomingMessage): void {
  if (request.headers.origin === undefined) return
  throw new Refusal(
    'ORIGIN_NOT_ALLOWED',
    'A web page may not make this call. Set PLATFORM_TOKEN and send it.',
  )
}
