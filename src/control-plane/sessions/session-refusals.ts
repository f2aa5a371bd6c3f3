import { Refusal } from '../refusal.ts'

export function endedSession(): Refusal {
  return new Refusal(
    'SESSION_ENDED',
    'This session has ended: it was signed out, left alone for an hour, or is 12 hours old. Sign in again.',
  )
}

export function missingSession(): Refusal {
  return new Refusal(
    'SESSION_REQUIRED',
    'This call is about the session of its cookie, and came without one. Sign in first: POST /api/v1/session.',
  )
}

export function foreignPage(): Refusal {
  return new Refusal(
    'ORIGIN_NOT_ALLOWED',
    'A page of another origin made this call. Open the console at its own address; behind a proxy, set CONSOLE_URL to it.',
  )
}

export function csrfRefused(): Refusal {
  return new Refusal(
    'CSRF_REFUSED',
    'A POST with the cookie of a session carries the header x-csrf-token. Ask GET /api/v1/session for it, and try again.',
  )
}

export function plainHttp(): Refusal {
  return new Refusal(
    'HTTPS_REQUIRED',
    'Over plain HTTP one signs in on the same machine only (http://localhost). Set TLS_CERT_FILE and TLS_KEY_FILE, or ' +
      'CONSOLE_URL to the https address that a proxy serves.',
  )
}
