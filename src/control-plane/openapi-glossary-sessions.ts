/** As in openapi-glossary.ts: by field; by schema and field where a word means something else there; by schema. */
export const SESSION_DESCRIPTIONS: Readonly<Record<string, string>> = {
  'SessionStartRequest.key': 'A key of the org, of any kind but `runtime`. It is not kept.',
  link: 'The token of a link that was mailed. It is used up.',
  sessionId: 'The session. No secret.',
  'SessionResponse.keyId': 'The key that signed in. What that one may do the session may do, and no longer.',
  'SessionResponse.kind': 'Of that key: what the session may do.',
  'SessionResponse.email': 'The owner who came by a link. Null for a session by key.',
  csrfToken: 'What every POST with the cookie carries in the header `x-csrf-token`.',
  startedAt: 'When it began.',
  'SessionResponse.endsAt': 'When it ends whatever happens.',
  idleAt: 'When it ends if nobody refreshes it.',
  'SessionEndRequest.scope':
    '`this` session, `mine` (of the same key or owner), or all of the `org`, for admin and full. Default `this`.',
  ended: 'How many were ended.',
  SessionStartRequest: 'Exactly one of `key` and `link`.',
}
