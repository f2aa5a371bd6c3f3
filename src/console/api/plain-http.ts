import { ApiError } from './api-error.ts'

/** What a browser on the same machine calls it, as the control plane has it (sessions/own-pages.ts). */
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i

/** As `window.location` has it. */
export interface PageAddress {
  readonly protocol: string
  readonly hostname: string
}

/**
 * Throws `HTTPS_REQUIRED` where the control plane would: there anybody on the way could read a key, so it is not even
 * sent.
 */
export function assertNotReadable({ protocol, hostname }: PageAddress): void {
  if (protocol === 'https:' || LOOPBACK.test(hostname)) return
  throw new ApiError({
    code: 'HTTPS_REQUIRED',
    message:
      'The key was not sent: this page came over plain HTTP, and anybody on the way could read it. Open the console at its https address, or on the machine itself at http://localhost.',
    status: 403,
  })
}
