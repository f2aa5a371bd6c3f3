import { z } from 'zod'

import { choice, must, okFields, text, time } from './wire-fields.ts'
import { KEY_KINDS } from './wire.ts'

// A person's session in a browser. It is good for what the key is good for that it was opened with, and no longer.

/** The cookie of a session: with the prefix over HTTPS, where a browser then lets nobody else set it. */
export const SESSION_COOKIE = { https: '__Host-holdpoint-session', loopback: 'holdpoint-session' } as const
/** Every POST that is authenticated by the cookie carries `csrfToken` here. */
export const CSRF_HEADER = 'x-csrf-token'

export const SIGN_IN_KINDS = ['viewer', 'stop', 'operator', 'admin', 'full'] as const

/** Exactly one of `key` and `link`. */
export const SessionStartRequest = z
  .object({
    key: text(1, 256).optional(),
    /** The token of a recovery link: the session is an `admin`'s, and the link is used up. */
    link: text(1, 256).optional(),
  })
  .refine(({ key, link }) => (key === undefined) !== (link === undefined), {
    message: 'Give "key" or "link", and not both.',
  })
export const SessionQuery = z.object({})
export const SessionRefreshRequest = z.object({})
const SCOPES = ['this', 'mine', 'org'] as const
export const SessionEndRequest = z.object({
  /** `mine`: every session of the same key or owner. `org`: every session of the org, for admin and full. Default `this`. */
  scope: choice(SCOPES).optional(),
})

export const SessionResponse = z.object({
  ...okFields,
  orgId: z.string(),
  sessionId: z.string(),
  keyId: z.string(),
  kind: z.enum(KEY_KINDS, must('a kind of key')),
  /** Of the owner who came by a link. */
  email: z.string().nullable(),
  csrfToken: z.string(),
  startedAt: time,
  /** When it ends whatever happens, and when it ends if nobody refreshes it. */
  endsAt: time,
  idleAt: time,
})
export type SessionBody = z.infer<typeof SessionResponse>
export const SessionEndResponse = z.object({ ...okFields, orgId: z.string(), ended: z.number().int() })
