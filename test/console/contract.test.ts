import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'

import { ApiError } from '../../src/console/api/api-error.ts'
import { CSRF_HEADER } from '../../src/console/api/csrf-header.ts'
import { exchange } from '../../src/console/api/exchange.ts'
import { mayManage, mayReadEvidence, mayRestore, mayStop } from '../../src/console/api/roles.ts'
import { ROUTES } from '../../src/console/api/routes.ts'
import { surfacesOf } from '../../src/console/stop-page/surfaces.ts'
import { surfaceTarget } from '../../src/console/stop-page/target.ts'
import { surfacePattern } from '../../src/cli/surface-pattern.ts'
import { MAY_MANAGE, MAY_READ_EVIDENCE, MAY_RESTORE, MAY_STOP } from '../../src/control-plane/key-kinds.ts'
import { CALLS } from '../../src/machineid/calls.ts'
import { CSRF_HEADER as OF_THE_WIRE, SIGN_IN_KINDS } from '../../src/machineid/wire-sessions.ts'

const answers: Record<string, { readonly status: number; readonly type: string; readonly body: string }> = {
  '/ok': { status: 200, type: 'application/json', body: '{"request_id":"r1","status":"ok"}' },
  '/refused': {
    status: 409,
    type: 'application/json',
    body: '{"request_id":"r2","code":"EPOCH_STALE","message":"Older.","epoch":7}',
  },
  '/proxy-page': { status: 200, type: 'text/html', body: '<h1>All is well</h1>' },
  '/proxy-json': { status: 200, type: 'application/json', body: '{"status":"ok"}' },
  '/proxy-error': { status: 401, type: 'application/json', body: '{"message":"Log in at the gateway."}' },
}
const seen: { readonly headers: Record<string, unknown>; readonly body: string }[] = []
const server = createServer((request, response) => {
  void (async () => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    seen.push({ headers: request.headers, body })
    const answer = answers[request.url ?? '']
    if (answer === undefined) return void response.destroy()
    response.writeHead(answer.status, { 'content-type': answer.type }).end(answer.body)
  })()
})
let origin = ''
beforeAll(async () => {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())

const failureOf = (path: string) =>
  exchange(origin + path, { method: 'GET' }).then(
    () => expect.unreachable(`${path} was taken for an answer`),
    (error: unknown) => error as ApiError,
  )

it('knows every call by the method and path that the control plane has it under', () => {
  for (const [name, { method, path }] of Object.entries(CALLS)) {
    expect(ROUTES[name as keyof typeof ROUTES]).toEqual({ method, path })
  }
  expect(Object.keys(ROUTES).sort()).toEqual(Object.keys(CALLS).sort())
  expect(CSRF_HEADER).toBe(OF_THE_WIRE)
})

it('offers each kind of key what the control plane lets it do', () => {
  for (const [offers, may] of [
    [mayStop, MAY_STOP],
    [mayRestore, MAY_RESTORE],
    [mayReadEvidence, MAY_READ_EVIDENCE],
    [mayManage, MAY_MANAGE],
  ] as const) {
    expect(SIGN_IN_KINDS.filter((kind) => offers({ kind }))).toEqual(
      SIGN_IN_KINDS.filter((kind) => may.includes(kind)),
    )
  }
})

it('stops a surface with the pattern that the command line stops it with', () => {
  const device = { revoked: false, locked: false, overLimit: false }
  const surfaces = surfacesOf([
    { ...device, deviceId: 'billing:prod:payments:01' },
    { ...device, deviceId: 'crm:prod:payments:02', revoked: true },
    { ...device, deviceId: 'crm:prod:email:01:blue', locked: true },
    { ...device, deviceId: 'three:segments:only' },
  ])
  expect(surfaces).toEqual([
    { name: 'email', devices: 1, denied: 1 },
    { name: 'payments', devices: 2, denied: 1 },
  ])
  for (const { name } of surfaces) {
    expect(surfaceTarget(name).body('')).toMatchObject({ pattern: surfacePattern(name) })
  }
})

it('takes for an answer only what the control plane said', async () => {
  await expect(exchange(`${origin}/ok`, { method: 'GET' })).resolves.toMatchObject({ status: 'ok' })
  expect(await failureOf('/refused')).toMatchObject({ code: 'EPOCH_STALE', status: 409, epoch: 7 })
  for (const path of ['/proxy-page', '/proxy-json', '/proxy-error', '/cut']) {
    expect(await failureOf(path), path).toMatchObject({ code: 'UNREACHABLE', status: 0 })
  }
})

it('proves itself with the token of the session in a POST, and not in the calls that anybody may make', async () => {
  await exchange(`${origin}/ok`, { method: 'POST', body: { reason: 'why' }, csrfToken: 'hpc_1' })
  expect(seen.at(-1)).toMatchObject({ headers: { [CSRF_HEADER]: 'hpc_1' }, body: '{"reason":"why"}' })
  await exchange(`${origin}/ok`, { method: 'POST', body: {} })
  expect(seen.at(-1)?.headers).not.toHaveProperty(CSRF_HEADER)
})
