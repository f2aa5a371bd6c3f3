import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { scopesOf } from '../../src/tool-server/auth.ts'
import { SCOPES, type Scope } from '../../src/tool-server/callers.ts'
import { startRunsWorld, starting, turn, type RunsWorld } from './runs-world.ts'

let world: RunsWorld
beforeAll(async () => {
  world = await startRunsWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const ANY: readonly Scope[] = ['runs:start', 'runs:resume', 'runs:approve']

/** Every route of runs, with the scopes of which one is enough. */
const ROUTES: readonly (readonly [method: 'GET' | 'POST', path: string, anyOf: readonly Scope[]])[] = [
  ['POST', '/runs', ['runs:start']],
  ['GET', '/runs', ANY],
  ['GET', '/runs/:id', ANY],
  ['POST', '/runs/:id/resume', ['runs:resume']],
  ['POST', '/runs/:id/cancel', ANY],
  ['GET', '/approvals', ['runs:approve']],
  ['POST', '/runs/:id/decisions', ['runs:approve']],
  ['POST', '/effects/:id/settle', ['runs:approve']],
  ['POST', '/effects/:id/reconcile', ['runs:approve']],
]

/** Those that are about the server itself. */
const OPERATING: typeof ROUTES = [
  ['GET', '/inspect', ['runs:approve']],
  ['POST', '/canary/:surface', ['tools:call', 'runs:approve']],
]

const ask = (method: 'GET' | 'POST', path: string, token: string) =>
  method === 'GET'
    ? world.get(path.replace(':id', 'nothing'), token)
    : world.post(path.replace(':id', 'nothing'), { unexpected: true }, token)

describe.each([...ROUTES, ...OPERATING])('%s %s', (method, path, anyOf) => {
  test.each(SCOPES)('with the scope %s alone', async (scope) => {
    const { status, body, headers } = await ask(method, path, world.tokens[scope])
    if (anyOf.includes(scope)) expect([401, 403]).not.toContain(status)
    else {
      expect([status, body.code]).toEqual([403, 'INSUFFICIENT_SCOPE'])
      expect(headers.get('www-authenticate')).toBe(
        `Bearer error="insufficient_scope", scope="${anyOf.join(' ')}"`,
      )
    }
  })

  test.each([
    ['no token', ''],
    ['a token that nobody has', `hpc_${'x'.repeat(43)}`],
  ])('with %s: 401', async (_name, token) => {
    expect((await ask(method, path, token)).status).toBe(401)
  })

  test('with the key of the runtime: 401', async () => {
    expect((await ask(method, path, world.server.authority.keys.runtime)).status).toBe(401)
  })
})

test('these are all the routes, and each asks for exactly these scopes', () => {
  const known = ROUTES.map(([method, path, anyOf]) => [method, path, [...anyOf]])
  const found = routesOf(world.server.toolServer.app.router as never)
  expect(found.filter(([, path]) => /^\/(runs|approvals|effects)/.test(path))).toEqual(
    expect.arrayContaining(known),
  )
  // metrics.test.ts shows who may look at the figures.
  const open = ['/healthz', '/readyz', '/metrics']
  expect(found.flatMap(([, path, scopes]) => (scopes === undefined ? [path] : []))).toEqual(open)
  expect(found).toEqual(expect.arrayContaining([...OPERATING]))
  const others = ['/tools', '/tools/:name', '/mcp']
  expect(found).toHaveLength(known.length + OPERATING.length + open.length + others.length)
})

test('a server without callers lets nobody approve: whatever runs on this machine could come', async () => {
  await using alone = await startRunsWorld({ callers: undefined })
  const { body } = await alone.post('/runs', starting('r1', [turn('pay_invoice', { invoiceId: 'INV-7' })]))
  expect(body.status).toBe('interrupted')
  const [{ callId, digest }] = body.approvals
  const decisions = [{ callId, digest, approve: true }]
  expect(await alone.post('/runs/r1/decisions', { decisions })).toMatchObject({
    status: 403,
    body: { code: 'INSUFFICIENT_SCOPE' },
  })
})

test('deciding needs runs:approve also for the one who started the run', async () => {
  const { body } = await world.post('/runs', starting('own', [turn('pay_invoice', { invoiceId: 'INV-7' })]))
  const [{ callId, digest }] = body.approvals
  const decisions = [{ callId, digest, approve: true }]
  expect((await world.post('/runs/own/decisions', { decisions })).status).toBe(403)
  expect((await world.show('own')).approvals[0]?.state).toBe('waiting')
})

interface Layer {
  readonly route?: {
    readonly path: string
    readonly stack: readonly { readonly handle: unknown; readonly method?: string }[]
  }
  readonly handle: { readonly stack?: Layer[] }
}

type Found = readonly [method: string, path: string, scopes: readonly Scope[] | undefined]

function routesOf(router: { readonly stack: readonly Layer[] }): readonly Found[] {
  return router.stack.flatMap(({ route, handle }): readonly Found[] => {
    if (route === undefined) return handle.stack === undefined ? [] : routesOf({ stack: handle.stack })
    const scopes = route.stack.map((layer) => scopesOf(layer.handle)).find((one) => one !== undefined)
    return [[(route.stack[0]?.method ?? 'all').toUpperCase(), route.path, scopes]]
  })
}
