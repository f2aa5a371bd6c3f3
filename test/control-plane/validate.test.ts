import fc from 'fast-check'
import { createServer, request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { DecisionLog } from '../../src/control-plane/decision-log.ts'
import type { DecisionReader, DecisionSnapshot } from '../../src/control-plane/store.ts'
import { createValidateLane } from '../../src/control-plane/validate-lane.ts'
import { parseValidate, parseValidateBatch } from '../../src/control-plane/validate-request.ts'
import { closeServer, listen } from '../../src/http.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import {
  ValidateBatchRequest,
  ValidateBatchResponse,
  ValidateRequest,
  ValidateResponse,
} from '../../src/machineid/wire-devices.ts'
import { openDecisionReader } from '../../src/store/sqlite/control-plane.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const SERVER = 'openai-agent:test:tool-server:01'
const PAYMENTS = 'openai-agent:test:payments:01'
const NONCE = 'nonce-of-this-question'

describe('a validate', () => {
  let authority: TestControlPlane
  beforeAll(async () => {
    authority = await startTestControlPlane()
    await authority.register(SERVER)
    await authority.register(PAYMENTS)
    await authority.revoke(PAYMENTS)
  })
  afterAll(() => authority.close())
  const validate = (body: object) => authority.post(PATHS.validate, body, authority.keys.runtime)

  test('that is allowed says so in exactly these fields, with the nonce of the question', async () => {
    const { status, headers, body } = await validate({ deviceId: SERVER, nonce: NONCE })
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('application/json')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(body).toEqual({
      allowed: true,
      code: 'ALLOW',
      request_id: expect.stringMatching(/^[0-9a-f-]{14}7/),
      deviceId: SERVER,
      orgId: authority.orgId,
      orgEpoch: 1,
      epoch: 0,
      nonce: NONCE,
      status: 'ok',
      reason: 'allowed',
      handler: 'devices/validate',
    })
    ValidateResponse.strict().parse(body)
  })

  test('that is denied is answered with 200 too, as MachineID does', async () => {
    const { status, body } = await validate({ deviceId: PAYMENTS })
    expect(status).toBe(200)
    expect(ValidateResponse.strict().parse(body)).toMatchObject({
      allowed: false,
      code: 'DEVICE_REVOKED',
      nonce: null,
      reason: 'not_allowed',
      epoch: 1,
    })
  })

  test('by GET, the old way, answers the same', async () => {
    for (const [deviceId, allowed] of [
      [SERVER, true],
      [PAYMENTS, false],
    ] as const) {
      const { body } = await authority.get(`${PATHS.validate}?deviceId=${deviceId}`, authority.keys.full)
      expect(ValidateResponse.strict().parse(body)).toMatchObject({ allowed, deviceId, nonce: null })
    }
    expect((await authority.get(PATHS.validate, authority.keys.full)).body.code).toBe('DEVICE_ID_INVALID')
  })

  test('in a batch decides for each device, in the order of the question, from one snapshot', async () => {
    const deviceIds = [PAYMENTS, SERVER, 'a:test:unknown:01', SERVER]
    const body = {
      deviceIds,
      nonce: NONCE,
      context: { boundary: 'tool', tool: 't', callId: 'c', runId: 'r' },
    }
    const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
    expect(answer.status).toBe(200)
    const { decisions, ...rest } = ValidateBatchResponse.strict().parse(answer.body)
    expect(rest).toMatchObject({ orgId: authority.orgId, orgEpoch: 1, nonce: NONCE })
    expect(decisions).toEqual([
      { deviceId: PAYMENTS, allowed: false, code: 'DEVICE_REVOKED', epoch: 1 },
      { deviceId: SERVER, allowed: true, code: 'ALLOW', epoch: 0 },
      { deviceId: 'a:test:unknown:01', allowed: false, code: 'DEVICE_NOT_REGISTERED', epoch: 0 },
      { deviceId: SERVER, allowed: true, code: 'ALLOW', epoch: 0 },
    ])
  })

  test('echoes a nonce byte for byte, whatever characters it has', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', minLength: 16, maxLength: 40 }), async (nonce) => {
        fc.pre(nonce.length <= 128 && nonce.isWellFormed())
        expect((await validate({ deviceId: SERVER, nonce })).body).toMatchObject({ nonce, allowed: true })
      }),
      { numRuns: 100 },
    )
  })

  test('answers each of many questions on one connection with its own nonce', async () => {
    const nonces = Array.from({ length: 200 }, (_, index) => `nonce-number-${String(index).padStart(5, '0')}`)
    const answers = await pipelined(authority, nonces)
    expect(answers.map(({ nonce }) => nonce)).toEqual(nonces)
    expect(new Set(answers.map(({ request_id }) => request_id)).size).toBe(nonces.length)
  })
})

describe('the requests of a validate', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.string({ minLength: 250, maxLength: 260 }),
    fc.constantFrom(SERVER, NONCE, '', 'n'.repeat(15), 'n'.repeat(16), 'n'.repeat(128), 'n'.repeat(129)),
  )
  const any = fc.oneof(text, fc.jsonValue({ maxDepth: 2 }))
  const context = fc.dictionary(
    fc.constantFrom('boundary', 'tool', 'callId', 'runId', 'replica', 'more'),
    fc.oneof({ weight: 3, arbitrary: text }, { weight: 1, arbitrary: any }),
    { noNullPrototype: true },
  )
  const fields = (deviceIds: fc.Arbitrary<unknown>) =>
    fc.record(
      {
        deviceId: fc.oneof(fc.constant(SERVER), any),
        deviceIds,
        nonce: fc.oneof(fc.constant(NONCE), any),
        context: fc.oneof(context, any),
      },
      { requiredKeys: [], noNullPrototype: true },
    )
  const accepts = (parse: (body: unknown) => unknown, body: unknown) => {
    try {
      parse(body)
      return true
    } catch {
      return false
    }
  }

  test('are taken and refused by the hand-written parser as by the schemas of the contract', () => {
    const ids = fc.array(
      fc.oneof({ weight: 9, arbitrary: fc.constant(SERVER) }, { weight: 1, arbitrary: any }),
      {
        maxLength: 18,
      },
    )
    let accepted = 0
    fc.assert(
      fc.property(fc.oneof(fields(fc.oneof(ids, any)), any), (body) => {
        const one = ValidateRequest.safeParse(body).success
        const batch = ValidateBatchRequest.safeParse(body).success
        expect(accepts(parseValidate, body)).toBe(one)
        expect(accepts(parseValidateBatch, body)).toBe(batch)
        accepted += Number(one || batch)
      }),
      { numRuns: 5000 },
    )
    expect(accepted).toBeGreaterThan(100)
  })

  test('are read from what was sent, never from what objects inherit', () => {
    const inherited = Object.create({ deviceId: SERVER, deviceIds: [SERVER], nonce: NONCE }) as object
    expect(accepts(parseValidate, inherited)).toBe(false)
    expect(accepts(parseValidateBatch, inherited)).toBe(false)
  })
})

describe('the validate lane', () => {
  test('G2: works with nothing but a read connection of its own, and sees each commit at once', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(SERVER)
    const { reader, close } = openDecisionReader(authority.file)
    await using lane = await startLane(reader)
    for (let round = 0; round < 30; round++) {
      await authority.revoke(SERVER)
      expect((await lane.ask(authority.keys.runtime)).body).toMatchObject({ allowed: false })
      await authority.restore(SERVER)
      expect((await lane.ask(authority.keys.runtime)).body).toMatchObject({ allowed: true })
    }
    close()
  })

  test('judges by its own clock whether a canceled plan and a rotated key have ended, whoever has noticed', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(SERVER)
    const opened = openDecisionReader(authority.file)
    const T = 1_000_000
    let nowMs = 0
    const changed: Partial<DecisionSnapshot>[] = []
    const reader: DecisionReader = {
      read: (keyId, deviceIds) => {
        const snapshot = opened.reader.read(keyId, deviceIds) as DecisionSnapshot
        return { ...snapshot, ...changed[0] }
      },
    }
    await using lane = await startLane(reader, undefined, () => nowMs)
    const { runtime } = authority.keys
    const told = async () => (await lane.ask(runtime)).body
    changed[0] = { planState: 'canceled', accessUntilMs: T, cap: 0 }
    nowMs = T - 1
    expect(await told()).toMatchObject({ allowed: false, code: 'DEVICE_OVER_LIMIT' })
    nowMs = T
    expect(await told()).toMatchObject({ allowed: true })
    const { key } = opened.reader.read(runtime.split('_')[2] ?? '', []) as DecisionSnapshot
    changed[0] = { key: { ...key, endsAtMs: T } }
    expect(await told()).toEqual({ refused: 'KEY_EXPIRED' })
    nowMs = T - 1
    expect(await told()).toMatchObject({ allowed: true })
    changed[0] = { key: { ...key, endedAs: 'burned' } }
    expect(await told()).toEqual({ refused: 'KEY_BURNED' })
    opened.close()
  })

  test('notes what each device was told, and which of them are registered', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(SERVER)
    const noted: unknown[] = []
    const { reader, close } = openDecisionReader(authority.file)
    await using lane = await startLane(reader, ({ deviceId, code, asked }, registered) => {
      noted.push([deviceId, code, asked, registered])
    })
    await lane.ask(authority.keys.runtime, SERVER)
    await lane.ask(authority.keys.runtime, PAYMENTS)
    expect(noted).toEqual([
      [SERVER, 'ALLOW', 'validate', true],
      [PAYMENTS, 'DEVICE_NOT_REGISTERED', 'validate', false],
    ])
    close()
  })

  test('serves a reader that answers later, as one of a remote database would', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(SERVER)
    const { reader, close } = openDecisionReader(authority.file)
    await using lane = await startLane({ read: async (keyId, deviceIds) => reader.read(keyId, deviceIds) })
    expect((await lane.ask(authority.keys.runtime)).body).toMatchObject({ allowed: true })
    expect((await lane.ask(authority.keys.viewer)).body).toEqual({ refused: 'INSUFFICIENT_SCOPE' })
    close()
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('disk')
      },
    ],
    [
      'rejects',
      async () => {
        throw new Error('disk')
      },
    ],
  ])('G4: gives no decision when its reader %s', async (_, read) => {
    await using lane = await startLane({ read })
    const { body } = await lane.ask('org_full_abcdefghijklmnop_'.padEnd(69, 'x').concat('00000000'))
    expect(body).not.toHaveProperty('allowed')
  })
})

async function startLane(
  reader: DecisionReader,
  record: DecisionLog['record'] = () => {},
  nowMs: () => number = Date.now,
) {
  const lane = createValidateLane({
    reader,
    record,
    newId: () => 'id',
    nowMs,
    quota: () => {},
    shed: () => {},
    problem: () => undefined,
    onError: (response, error) => {
      response.writeHead(500).end(JSON.stringify({ refused: (error as { code?: string }).code }))
    },
  })
  const server = createServer((request, response) => void lane.handle(request, response))
  const { url } = await listen(server, { host: '127.0.0.1', port: 0 })
  const ask = async (key: string, deviceId = SERVER) => {
    const response = await fetch(`${url}${PATHS.validate}`, {
      method: 'POST',
      headers: { 'x-org-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ deviceId }),
    })
    return { status: response.status, body: await response.json() }
  }
  return { ask, [Symbol.asyncDispose]: () => closeServer(server, { graceMs: 0 }) }
}

/** All questions over one agent of one socket, none waiting for the answer before. */
function pipelined({ port, keys }: TestControlPlane, nonces: readonly string[]) {
  const ask = (nonce: string) =>
    new Promise<{ nonce: string; request_id: string }>((resolve, reject) => {
      const headers = { 'x-org-key': keys.runtime, 'content-type': 'application/json' }
      const sent = httpRequest(
        { port, host: '127.0.0.1', method: 'POST', path: PATHS.validate, headers },
        (answer) => {
          let text = ''
          answer.on('data', (chunk) => (text += chunk)).on('end', () => resolve(JSON.parse(text)))
        },
      )
      sent.on('error', reject).end(JSON.stringify({ deviceId: SERVER, nonce }))
    })
  return Promise.all(nonces.map(ask))
}
