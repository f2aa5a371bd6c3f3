import { Refusal } from './refusal.ts'

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']

/**
 * Which Host headers are answered. A page in an operator's browser can reach this machine's loopback under a name
 * of its own (DNS rebinding), so there only loopback's names and the configured `hosts` pass. Off loopback Host is
 * checked once `hosts` are configured.
 */
export function hostAllowed(options: {
  readonly loopback: boolean
  readonly hosts?: readonly string[] | undefined
}): (host: string | undefined) => boolean {
  const { loopback, hosts = [] } = options
  if (!loopback && hosts.length === 0) return () => true
  const names = new Set([...LOOPBACK_NAMES, ...hosts].map((name) => name.toLowerCase()))
  // Most requests carry the same header as the one before.
  let lastAllowed: string | undefined
  return (host) => {
    if (host === undefined) return false
    if (host === lastAllowed) return true
    const name = host.toLowerCase()
    if (!names.has(name) && !names.has(name.replace(/:\d+$/, ''))) return false
    lastAllowed = host
    return true
  }
}

export function wrongHost(): Refusal {
  return new Refusal(
    'HOST_NOT_ALLOWED',
    'This control plane does not answer to that Host name. Use localhost, or add the name to ALLOWED_HOSTS.',
  )
}
