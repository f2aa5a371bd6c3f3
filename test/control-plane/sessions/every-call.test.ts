import { afterAll, describe, expect, test } from 'vitest'

import { CSRF_HEADER } from '../../../src/machineid/wire-sessions.ts'
import type { Operation } from '../openapi-contract.ts'
import { ACCEPTED, startWorlds } from '../openapi-recipes.ts'
import { inSession } from '../openapi-recipes-sessions.ts'

// A person who is signed in makes every call that its key makes: the cookie stands in its place, and nothing but the
// cookie is not enough for a change.

const worlds = await startWorlds()
const { main } = worlds
afterAll(() => worlds[Symbol.asyncDispose]())

const securityOf = ({ path, method }: Operation) => {
  const paths = main.contract.document['paths'] as Record<string, Record<string, { security: object[] }>>
  return paths[path]?.[method.toLowerCase()]?.security ?? []
}
const withKey = main.contract.operations.filter(({ kinds }) => kinds.length > 0)
const withCookie = withKey.filter((operation) => securityOf(operation).some((way) => 'session' in way))

test('all calls with a key take the cookie, but those that agents alone make', () => {
  const others = withKey.filter((operation) => !withCookie.includes(operation)).map(({ id }) => id)
  expect(others.toSorted()).toEqual([
    'getDevicesValidate',
    'getStops',
    'postDevicesValidate',
    'postDevicesValidateBatch',
  ])
  for (const operation of withCookie) {
    const way = securityOf(operation).find((one) => 'session' in one)
    expect([operation.id, 'csrfToken' in (way ?? {})]).toEqual([operation.id, operation.method === 'POST'])
  }
})

describe.each(withCookie)('$method $path', (operation) => {
  test('takes the cookie in place of the key, and of a POST the proof', async () => {
    const { headers = {}, ...session } = await inSession(main)
    const asked = { ...(await ACCEPTED[operation.id]?.(main)), ...session }
    if (operation.method === 'POST') {
      const { [CSRF_HEADER]: _csrf, ...cookie } = headers
      const unproved = await main.ask(operation, { ...asked, headers: cookie })
      expect(unproved.body).toMatchObject({ code: 'CSRF_REFUSED' })
    }
    const answer = await main.ask(operation, { ...asked, headers })
    if (operation.kinds.includes('full')) expect([answer.status, answer.body]).toEqual([200, answer.body])
    else expect(answer.body).toMatchObject({ code: 'INSUFFICIENT_SCOPE' })
  })

  test('does not take it on the lane of agents', async () => {
    const session = await inSession(main)
    const asked = operation.method === 'POST' ? { body: {} } : {}
    const answer = await main.ask(operation, { ...asked, ...session, lane: 'agent' })
    expect(answer.body).toMatchObject({ code: 'KEY_MISSING' })
  })
})
