import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'

import { plainHttp } from '../fixtures/machineid-clients/plain-http.ts'
import { MachineID, OldMachineID, type Answer } from '../fixtures/machineid-clients/python-sdk.ts'
import { pythonProblem, startPythonClient } from '../fixtures/machineid-clients/python.ts'
import { errorOr, Starter } from '../fixtures/machineid-clients/starter.ts'
import { tapWire, type Exchange } from '../fixtures/machineid-clients/wire-tap.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { BAD_KEY, STEPS, type Call, type Step } from './compat-scenario.ts'

// MachineID's own clients, written over generation by generation, against a real control plane with a `full` key. What
// they send and get is read off the wire. COMPAT_TABLE=1 prints what is documented of each call beside what was seen.

interface Client {
  readonly call: (call: Call, ...args: readonly string[]) => Promise<Answer>
  readonly close?: () => Promise<void>
}

interface Generation {
  readonly name: string
  readonly connect: (orgKey: string, url: string) => Client
  /** Default: every call. */
  readonly calls?: readonly Call[]
  readonly validate: 'GET' | 'POST'
  /** What its caller gets of an answer. */
  readonly gives: (exchange: Exchange) => Answer
  readonly missing?: string | undefined
}

type Present = Omit<Generation, 'missing'>

const methods = (client: object): Client => ({
  call: (call, ...args) =>
    (client as Record<Call, (...args: readonly string[]) => Promise<Answer>>)[call](...args),
})
const asIs = ({ body }: Exchange) => body
const python = (sdk: 'written-over' | 'installed'): Generation['connect'] => {
  const names: Partial<Record<Call, string>> = { listDevices: 'list_devices' }
  return (orgKey, url) => {
    const child = startPythonClient(orgKey, url, sdk)
    return {
      call: (call, ...args) => child.call(names[call] ?? call, ...args),
      close: async () => await child[Symbol.asyncDispose](),
    }
  }
}

const GENERATIONS: readonly Generation[] = [
  {
    name: 'SDK 0.1.6',
    connect: (orgKey, url) => methods(new MachineID(orgKey, url)),
    validate: 'POST',
    gives: asIs,
  },
  {
    name: 'SDK ≤ 0.1.2',
    connect: (orgKey, url) => methods(new OldMachineID(orgKey, url)),
    validate: 'GET',
    gives: asIs,
  },
  {
    name: 'starter',
    connect: (orgKey, url) => methods(new Starter(orgKey, url)),
    calls: ['register', 'validate'],
    validate: 'POST',
    gives: ({ statusCode, body }) => errorOr({ statusCode, json: body }),
  },
  {
    name: 'Python (urllib)',
    connect: python('written-over'),
    validate: 'POST',
    gives: asIs,
    missing: await pythonProblem(),
  },
  {
    name: "MachineID's own package",
    connect: python('installed'),
    validate: 'POST',
    gives: asIs,
    missing: await pythonProblem('machineid'),
  },
]

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
})
afterAll(async () => {
  await authority.close()
  if (process.env['COMPAT_TABLE'] !== undefined) console.log(table())
})

const seenIn = new Map<Step, Map<string, string>>()

for (const { missing, ...generation } of GENERATIONS) {
  if (missing !== undefined) console.warn(`skipped: ${generation.name}, because ${missing}`)
  describe.skipIf(missing !== undefined)(generation.name, () => {
    test('creates an org with nothing but {}, and works with its one key', async () => {
      const { statusCode, json } = await createOrg()
      expect(statusCode).toBe(200)
      expect(json).toMatchObject({
        status: 'ok',
        handler: 'org_create',
        orgApiKey: expect.stringMatching(/^org_/),
      })
    })

    test('gets from the agents’ lane what is documented, call by call', async () => {
      for (const [step, exchange] of await play(generation, authority.url)) {
        const seen = seenIn.get(step) ?? new Map<string, string>()
        seenIn.set(step, seen.set(generation.name, inShort(exchange)))
      }
    })

    test('gets the same from the operators’ lane, but for validates, which it is told to ask elsewhere', async () => {
      await play(generation, authority.operatorUrl, (step) =>
        step.call === 'validate' ? { ...step, statusCode: 421, answer: WRONG_LANE } : step,
      )
    })

    test('with a key that is no good gets an `error` and no decision', async () => {
      const { orgKey } = await newOrg()
      const guessed = `${orgKey.slice(0, -1)}${orgKey.endsWith('0') ? '1' : '0'}`
      for (const wrong of ['org_wrong', guessed]) {
        await using watched = await watch(generation, authority.url, wrong)
        for (const step of BAD_KEY.filter(({ call }) => has(generation, call))) {
          expect((await watched.take(step)).body).not.toHaveProperty('allowed')
        }
      }
    })
  })
}

const WRONG_LANE = z.looseObject({ error: z.literal('wrong_lane'), status: z.string() })

/** Every step with what was on the wire; a step that this generation has no call for is done by somebody else. */
async function play(generation: Present, url: string, as = (step: Step) => step) {
  const { orgId, orgKey } = await newOrg()
  const others = { sdk: new MachineID(orgKey, authority.url), authority, orgId, orgKey }
  await using watched = await watch(generation, url, orgKey)
  const done: [Step, Exchange][] = []
  for (const step of STEPS) {
    await step.first?.(others)
    if (has(generation, step.call)) done.push([step, await watched.take(as(step))])
    else await methods(others.sdk).call(step.call, ...argsOf(step))
  }
  return done
}

/** A client whose every call is compared: what it sent, what came back on the wire, what its caller got. */
async function watch(generation: Present, url: string, orgKey: string) {
  const tap = await tapWire(url)
  const client = generation.connect(orgKey, tap.url)
  const take = async (step: Step) => {
    const value = await client.call(step.call, ...argsOf(step))
    const name = `${step.call}, ${step.when}`
    const [exchange, ...more] = tap.exchanges.splice(0)
    if (exchange === undefined) throw new Error(`${name}: nothing was sent`)
    expect(more, name).toEqual([])
    assertPlain(generation, exchange, step)
    expect(exchange.statusCode, name).toBe(step.statusCode)
    expect(exchange.contentType, name).toMatch(/^application\/json/)
    const { error } = step.answer.safeParse(exchange.body)
    expect(error, `${name}: ${JSON.stringify(exchange.body)}`).toBeUndefined()
    expect(value, name).toEqual(generation.gives(exchange))
    return exchange
  }
  const close = async () => {
    await client.close?.()
    await tap[Symbol.asyncDispose]()
  }
  return { take, [Symbol.asyncDispose]: close }
}

/** The org key is all they send beside the documented body: no nonce, no epoch, nothing of ours. */
function assertPlain(generation: Present, exchange: Exchange, step: Step) {
  const extras = Object.keys(exchange.headers).filter((name) => name.startsWith('x-'))
  expect(extras).toEqual(['x-org-key'])
  const get = step.deviceId === undefined || (step.call === 'validate' && generation.validate === 'GET')
  expect(exchange.method).toBe(get ? 'GET' : 'POST')
  expect(exchange.requestBody === '' ? undefined : JSON.parse(exchange.requestBody)).toEqual(
    get ? undefined : { deviceId: step.deviceId },
  )
}

const has = ({ calls }: Present, call: Call) => calls?.includes(call) ?? true
const argsOf = ({ deviceId }: Step) => (deviceId === undefined ? [] : [deviceId])

const nobody = () => ({ baseUrl: authority.url, orgKey: undefined, timeoutMs: 10_000 })
const createOrg = () => plainHttp(nobody(), '/api/v1/org/create', {})
const newOrg = async () => {
  const { json } = await createOrg()
  return { orgKey: String(json['orgApiKey']), orgId: String(json['orgId']) }
}

describe('what the clients do by themselves, so that the rest proves something', () => {
  let silent: Server
  let url: string
  let answer: (response: ServerResponse) => void = () => {}
  beforeAll(async () => {
    silent = createServer((_request, response) => answer(response))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
  })
  afterAll(() => {
    silent.closeAllConnections()
    silent.close()
  })

  test('the SDK trims IDs and keys, and sends nothing for an empty one', async () => {
    const { orgKey } = await newOrg()
    await using tap = await tapWire(authority.url)
    const sdk = new MachineID(` ${orgKey}\n`, `${tap.url}/`)
    expect(await sdk.register('  agent-01\t')).toMatchObject({ status: 'ok', deviceId: 'agent-01' })
    expect(await sdk.restore(' agent-01 ')).toMatchObject({ status: 'ok', deviceId: 'agent-01' })
    await expect(sdk.validate('  ')).rejects.toThrow('device_id is required')
    expect(() => new MachineID(' ')).toThrow('org_key is required')
    expect(tap.exchanges.map(({ path, requestBody }) => [path, requestBody])).toEqual([
      ['/api/v1/devices/register', '{"deviceId":"agent-01"}'],
      ['/api/v1/devices/unrevoke', '{"deviceId":"agent-01"}'],
    ])
  })

  test('it waits 10 seconds, raises when nothing comes and for what is not JSON, and for no status', async () => {
    expect(new MachineID('org_x').timeoutMs).toBe(10_000)
    answer = () => {}
    await expect(new MachineID('org_x', url, 50).usage()).rejects.toThrow('Read timed out')
    answer = (response) => response.writeHead(502).end('<h1>Bad gateway</h1>')
    await expect(new MachineID('org_x', url).usage()).rejects.toThrow('non-JSON response (status=502)')
    answer = (response) => response.writeHead(500).end('{"error":"broken"}')
    expect(await new MachineID('org_x', url).usage()).toEqual({ error: 'broken' })
  })

  test('the starter keeps of a status from 400 on nothing but its word', async () => {
    answer = (response) => response.writeHead(403).end('{"error":"device_limit_reached","allowed":true}')
    expect(await new Starter('org_x', url).validate('a')).toEqual({
      status: 'error',
      error: 'device_limit_reached',
    })
    answer = (response) => response.writeHead(503).end('{}')
    expect(await new Starter('org_x', url).register('a')).toEqual({ status: 'error', error: 'HTTP 503' })
  })
})

test('no key at all: 401 with an `error`, for a validate the same as for every other call', async () => {
  for (const path of ['/devices/register', '/devices/validate', '/devices/revoke']) {
    const { statusCode, json } = await plainHttp(nobody(), `/api/v1${path}`, { deviceId: 'agent-01' })
    expect({ statusCode, error: json['error'] }).toEqual({ statusCode: 401, error: 'key_missing' })
    expect(json).not.toHaveProperty('allowed')
  }
})

const SHOWN = ['status', 'allowed', 'code', 'error', 'devicesUsed', 'remaining', 'overLimit'] as const
function inShort({ statusCode, body }: Exchange): string {
  const fields = SHOWN.filter((name) => body[name] !== undefined && !(name === 'code' && 'error' in body))
  return [statusCode, ...fields.map((name) => `${name} ${String(body[name])}`)].join(', ')
}

/** Markdown: one row a call, ✓ where a generation saw just that. */
function table(): string {
  const names = GENERATIONS.filter(({ missing }) => missing === undefined).map(({ name }) => name)
  const rows = STEPS.map((step) => {
    const seen = seenIn.get(step) ?? new Map<string, string>()
    const [first = 'not run'] = seen.values()
    const marks = names.map((name) => (seen.get(name) === first ? '✓' : (seen.get(name) ?? '–')))
    return [`${step.call}: ${step.when}`, step.documented, first, ...marks]
  })
  const head = ['call', 'documented', 'seen', ...names]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
