import type { IncomingMessage } from 'node:http'

import { KEY_HEADER } from '../machineid/wire.ts'
import { isSameSecret, keyProblem } from './keys.ts'
import type { KeyRecord } from './records.ts'
import { endedKey, invalidKey, missingKey, Refusal } from './refusal.ts'
import type { ControlPlaneService } from './service.ts'

/** The record of the key that a request carries; throws when it is no good. */
export async function authenticate(
  service: ControlPlaneService,
  request: IncomingMessage,
): Promise<KeyRecord> {
  const key = request.headers[KEY_HEADER]
  if (typeof key !== 'string' || key === '') throw missingKey()
  const record = await service.findKey(key)
  if (record === undefined) throw invalidKey()
  const problem = keyProblem(record, service.nowMs())
  if (problem !== undefined) throw endedKey(problem)
  return record
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

/** In constant time. */
export function carriesToken(request: IncomingMessage, token: string): boolean {
  const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
  return isSameSecret(given, token)
}

/** Any page in a browser on this machine can post here without reading the answer; browsers name its origin. */
function refuseWebPages(request: IncomingMessage): void {
  if (request.headers.origin === undefined) return
  throw new Refusal(
    'ORIGIN_NOT_ALLOWED',
    'A web page may not make this call. Set PLATFORM_TOKEN and send it.',
  )
}
