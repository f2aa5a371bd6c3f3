import {
  localhostAllowedHostnames,
  validateHostHeader,
  validateOriginHeader,
} from '@modelcontextprotocol/server'
import type { RequestHandler } from 'express'

import { GuardMisconfiguredError } from '../errors.ts'
import { refuse } from './refuse.ts'

export interface HostCheckOptions {
  /** Where callers reach this server, for example `https://tools.example.com`. */
  readonly publicUrl?: string | undefined
  /** More names by which it may be reached. Loopback names always may. Ports do not matter. */
  readonly allowedHosts?: readonly string[] | undefined
}

/**
 * Refuses requests that were sent to another name, or from another site's page: a browser that was lured to us
 * (DNS rebinding) betrays itself by these two headers. Throws `GUARD_MISCONFIGURED` on names that cannot be.
 */
export function hostCheck(options: HostCheckOptions): RequestHandler {
  const allowed = allowedHostnames(options)
  return (request, response, next) => {
    if (!validateHostHeader(request.headers.host, allowed).ok) {
      return refuse(response, {
        statusCode: 403,
        code: 'HOST_NOT_ALLOWED',
        message: 'This server does not go by that name. Add the host to ALLOWED_HOSTS, or set PUBLIC_URL.',
      })
    }
    const { origin } = request.headers
    if (origin === '' || !validateOriginHeader(origin, allowed).ok) {
      return refuse(response, {
        statusCode: 403,
        code: 'ORIGIN_NOT_ALLOWED',
        message:
          'Pages of that origin may not call this server. Add its host to ALLOWED_HOSTS if they should.',
      })
    }
    next()
  }
}

function allowedHostnames({ publicUrl, allowedHosts = [] }: HostCheckOptions): string[] {
  const fromUrl = publicUrl === undefined ? [] : [hostnameOf(publicUrl, 'PUBLIC_URL')]
  const listed = allowedHosts.map((host) => hostnameOf(`http://${host}`, 'ALLOWED_HOSTS'))
  return [...localhostAllowedHostnames(), ...fromUrl, ...listed]
}

function hostnameOf(url: string, where: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed?.hostname && /^https?:$/.test(parsed.protocol)) return parsed.hostname
  throw new GuardMisconfiguredError(
    `${where}: "${url}" names no host. Use for example PUBLIC_URL=https://tools.example.com or ALLOWED_HOSTS=tools.example.com`,
  )
}
