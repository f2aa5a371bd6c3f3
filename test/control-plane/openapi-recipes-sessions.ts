// How to get the answers that are about a person's session, for real.

import { CSRF_HEADER, SESSION_COOKIE } from '../../src/machineid/wire-sessions.ts'
import type { Operation } from './openapi-contract.ts'
import type { Answer, Asked, World } from './openapi-world.ts'

/** Signed in with the `full` key: what a call is asked with in place of the key. */
export async function inSession(world: World): Promise<Asked> {
  const { headers, body } = await world.ask(world.operation('postSession'), {
    body: { key: world.authority.keys.full },
  })
  const cookie = String(headers['set-cookie']).split(';')[0] ?? ''
  const { csrfToken } = body as { csrfToken: string }
  return { key: null, lane: 'operator', headers: { cookie, [CSRF_HEADER]: csrfToken } }
}

export const ACCEPTED_SESSIONS: Record<string, (world: World) => Promise<Asked> | Asked> = {
  postSession: ({ authority }) => ({ body: { key: authority.keys.viewer } }),
  getSession: inSession,
  postSessionRefresh: async (world) => ({ ...(await inSession(world)), body: {} }),
  postSessionEnd: async (world) => ({ ...(await inSession(world)), body: {} }),
}

type Recipe = (
  worlds: { readonly main: World; readonly limited: World; readonly remote: World },
  operation: Operation,
) => Promise<Answer>

/** Of every call that takes the cookie. */
export const COMMON_SESSIONS: Record<string, Recipe> = {
  SESSION_ENDED: ({ main }, operation) =>
    main.ask(operation, {
      ...bodyFor(operation),
      key: null,
      lane: 'operator',
      headers: { cookie: `${SESSION_COOKIE.loopback}=hps_unknown` },
    }),
  CSRF_REFUSED: async ({ main }, operation) => {
    const { headers = {}, ...session } = await inSession(main)
    const { [CSRF_HEADER]: _csrf, ...others } = headers
    return main.ask(operation, { ...bodyFor(operation), ...session, headers: others })
  },
}

export async function fromAnotherPage(world: World, operation: Operation): Promise<Answer> {
  const { headers, ...session } = await inSession(world)
  const origin = 'https://evil.example'
  return world.ask(operation, { ...bodyFor(operation), ...session, headers: { ...headers, origin } })
}

const bodyFor = ({ method }: Operation): Asked => (method === 'POST' ? { body: '[]' } : {})

const withoutCookie: Recipe = ({ main }, operation) =>
  main.ask(operation, operation.method === 'POST' ? { body: {} } : {})

export const OWN_SESSIONS: Record<string, Recipe> = {
  'getSession SESSION_REQUIRED': withoutCookie,
  'postSessionRefresh SESSION_REQUIRED': withoutCookie,
  'postSessionEnd SESSION_REQUIRED': withoutCookie,
  'postSession KEY_INVALID': ({ main }, operation) => main.ask(operation, { body: { key: 'org_nothing' } }),
  'postSession KEY_BURNED': async ({ main }, operation) => {
    const { keyId, key } = await main.must('postOrgKeys', { body: { kind: 'stop' } })
    await main.must('postOrgKeysBurn', { id: keyId, body: {} })
    return main.ask(operation, { body: { key } })
  },
  'postSession KEY_EXPIRED': async ({ main }, operation) => {
    const { keyId, key } = await main.must('postOrgKeys', { body: { kind: 'stop' } })
    await main.must('postOrgKeysRotate', { id: keyId, body: { overlapSeconds: 1 } })
    main.advance(2000)
    return main.ask(operation, { body: { key } })
  },
  'postSession INSUFFICIENT_SCOPE': ({ main }, operation) =>
    main.ask(operation, { body: { key: main.authority.keys.runtime } }),
  'postSession RECOVERY_LINK_INVALID': ({ main }, operation) =>
    main.ask(operation, { body: { link: 'unknown' } }),
  'postSession ORIGIN_NOT_ALLOWED': ({ main }, operation) =>
    main.ask(operation, { body: '[]', headers: { origin: 'https://evil.example' } }),
  'postSession HTTPS_REQUIRED': ({ remote }, operation) =>
    remote.ask(operation, { body: '[]', headers: { host: 'control-plane.example' } }),
  'postSession WRONG_LANE': ({ main }, operation) => main.ask(operation, { body: '[]', lane: 'agent' }),
  'postSession RATE_LIMITED': async ({ limited }, operation) => {
    const fail = () => limited.ask(operation, { body: { key: 'org_nothing' } })
    for (let times = 0; times < 10; times++) await fail()
    return fail()
  },
}
