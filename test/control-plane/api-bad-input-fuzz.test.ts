import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'

import { KEY_KINDS, type KeyKind } from '../../src/machineid/wire.ts'
import { seedFrom } from '../fixtures/random.ts'
import { openDump } from './api-bad-input-dump.ts'
import {
  HOSTILE_STRINGS,
  HOSTILE_TOKENS,
  HOSTILE_VALUES,
  hostileString,
  hostileValue,
  merged,
  placesIn,
  sampleOf,
  textsIn,
  withValue,
} from './api-bad-input-values.ts'
import type { Operation } from './openapi-contract.ts'
import { DEVICE, startWorld, type Asked } from './openapi-world.ts'

// Whatever is sent, to every call of openapi.json and every field of it, with every kind of key: never a 5xx, never a
// changed row but by what is answered 200, and always an answer that is described. Each run tries some of it, chosen
// by the seed; FUZZ_RUNS is how many times as much is tried.

const SEED = seedFrom('FUZZ_SEED')
const TIMES = Number(process.env['FUZZ_RUNS'] ?? 1)
/** One in so many of the values is tried in one run. */
const SHARES = Math.max(1, Math.round(5 / TIMES))

const world = await startWorld({ plan: 'max', threads: true })
const dump = openDump(world.authority.file)
const { operations } = world.contract
const posts = operations.filter(({ body }) => body !== undefined)
const gets = operations.filter(({ query, method }) => method === 'GET' && Object.keys(query).length > 0)
const tally = { sent: 0, accepted: 0, refused: 0, codes: new Set<string>() }

afterAll(async () => {
  const { codes, ...counts } = tally
  console.log(`Bad input: ${JSON.stringify({ ...counts, codes: codes.size })}, FUZZ_SEED=${SEED}`)
  dump[Symbol.dispose]()
  await world[Symbol.asyncDispose]()
})

/** Sends it, holds the answer to what is promised, and tells which of the described ones it is. */
async function send(operation: Operation, asked: Asked): Promise<string> {
  const before = dump.take()
  const answer = await world.ask(operation, asked)
  const shown = () => `${operation.id} ${JSON.stringify(asked).slice(0, 300)}`
  if (answer.status >= 500) throw new Error(`${shown()}: ${answer.status} ${JSON.stringify(answer.body)}`)
  // With another id the path may be that of another call, or of none.
  const elsewhere = asked.id !== undefined && [404, 405].includes(answer.status)
  const outcome = elsewhere ? `${answer.status}` : world.contract.outcomeOf(operation, answer)
  tally.sent++
  if (answer.status === 200) {
    tally.accepted++
    if (operation.body !== undefined && !world.contract.describes(operation, jsonOf(asked.body))) {
      throw new Error(`${shown()} is not what openapi.json describes, and was accepted.`)
    }
  } else {
    tally.refused++
    tally.codes.add(outcome)
    for (const key of Object.values(world.authority.keys))
      expect(JSON.stringify(answer.body)).not.toContain(key)
  }
  const mayChange = answer.status === 200 && operation.method === 'POST' && !outcome.endsWith(' preview')
  if (!mayChange && dump.take() !== before) throw new Error(`${shown()}: ${outcome} changed a row.`)
  return outcome
}

function jsonOf(body: unknown): unknown {
  if (body === '') return {}
  return typeof body === 'string' ? JSON.parse(body) : body
}

/** Mostly one that gets past the door. */
function keyOf({ kinds }: Operation, turn: number): string {
  const kind = turn % 3 === 0 ? KEY_KINDS[(turn / 3) % KEY_KINDS.length] : (kinds.at(-1) ?? 'full')
  return world.authority.keys[kind as KeyKind]
}

/** Those whose turn it is; over some seeds all of them. */
function someOf<T>(values: readonly T[], shift: number): [number, T][] {
  return [...values.entries()].filter(([index]) => (index + shift + SEED) % SHARES === 0)
}

test('the dump sees a change', async () => {
  const before = dump.take()
  await world.newDevice()
  expect(dump.take()).not.toBe(before)
})

describe.each(posts)('$method $path', (operation) => {
  const schema = operation.body as Record<string, unknown>

  const places = placesIn(schema).map((place, index) => ({ name: place.join('.'), place, index }))
  test.each(places)('$name', async ({ place, index }) => {
    const sample = sampleOf(schema, place)
    const { runtime } = world.authority.keys
    for (const secret of [runtime, `It was ${runtime}.`]) {
      await send(operation, { body: withValue(sample, place, secret) })
    }
    const values = [...HOSTILE_VALUES, 'x'.repeat(1_000_000)]
    for (const [turn, value] of someOf(values, index)) {
      await send(operation, { body: withValue(sample, place, value), key: keyOf(operation, turn) })
    }
    const text = JSON.stringify(withValue(sample, place, '\u0007'))
    for (const [turn, token] of someOf(HOSTILE_TOKENS, index)) {
      await send(operation, { body: text.replace('"\\u0007"', token), key: keyOf(operation, turn) })
    }
  })

  test('any text, in every place that takes one', async () => {
    for (const text of [...HOSTILE_STRINGS, world.authority.keys.runtime]) {
      const body = textsIn(schema).reduce<unknown>(
        (whole, place) => withValue(merged(whole, sampleOf(schema, place)), place, text),
        sampleOf(schema),
      )
      await send(operation, { body })
    }
  })

  test('what is no JSON in UTF-8', async () => {
    const text = JSON.stringify(sampleOf(schema))
    const half = text.slice(0, -1)
    const bodies = [
      half,
      `${text}${text}`,
      `\uFEFF${text}`,
      `${half},"a":}`,
      `${text}\u0000`,
      ' ',
      "{'a':1}",
      'a=b',
    ]
    for (const body of [...bodies, Buffer.from(text, 'utf16le'), Buffer.from([0x22, 0xff, 0x22])]) {
      expect(await send(operation, { body })).toBe('400 MALFORMED_JSON')
    }
  })

  test('what is no JSON object', async () => {
    for (const body of ['[]', '"x"', '7', 'null', 'true']) {
      expect(await send(operation, { body })).toBe('400 BAD_REQUEST')
    }
  })

  test('another type, charset or encoding', async () => {
    const types = [
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json; charset=utf-16',
      'x',
      '',
    ]
    for (const type of types) {
      const asked = { body: '{}', headers: { 'content-type': type } }
      expect(await send(operation, asked)).toBe('415 UNSUPPORTED_MEDIA_TYPE')
    }
    const gzip = { body: '{}', headers: { 'content-encoding': 'gzip' } }
    expect(await send(operation, gzip)).toBe('415 UNSUPPORTED_MEDIA_TYPE')
  })

  test('a field twice: the last one counts', async () => {
    for (const [name, value] of Object.entries(sampleOf(schema) as Record<string, unknown>)) {
      const body = `{"${name}":${JSON.stringify(value)},"${name}":{"not":"this"}}`
      expect(await send(operation, { body })).toMatch(/^400 (BAD_REQUEST|DEVICE_ID_INVALID)$/)
    }
  })

  // A validate changes nothing, and takes any.
  if (operation.id.includes('Validate')) return
  test('a query that is not known: a preview never becomes a stop', async () => {
    const queries = [
      'preview=yes',
      'preview=true&x=1',
      'Preview=true',
      'preview',
      '?',
      'dryRun=true',
      '%',
      '=',
    ]
    for (const query of queries) {
      expect(await send(operation, { body: sampleOf(schema), query })).toBe('400 BAD_REQUEST')
    }
  })
})

test('anything for the name of a label', async () => {
  const register = world.operation('postDevicesRegister')
  for (const name of HOSTILE_STRINGS) {
    const body = `{"deviceId":"a:labelled","labels":{${JSON.stringify(name)}:"x"}}`
    const isName = name.length > 0 && name.length <= 64 && name.isWellFormed() && !name.includes('\0')
    const outcome = isName && name !== '__proto__' ? '200 application/json' : '400 BAD_REQUEST'
    expect(await send(register, { body }), JSON.stringify(name)).toBe(outcome)
  }
})

describe.each(gets)('$method $path', (operation) => {
  test.each(Object.keys(operation.query))('%s', async (name) => {
    for (const [turn, value] of HOSTILE_STRINGS.entries()) {
      await send(operation, {
        query: { ...REFUSED[operation.id], [name]: value },
        key: keyOf(operation, turn),
      })
    }
  })

  test('a query that is none', async () => {
    const queries = [
      '%',
      '%ff',
      '&&&',
      '==',
      'a[b]=c',
      '__proto__=1',
      'constructor[prototype]=1',
      'x'.repeat(8000),
    ]
    for (const query of queries) {
      await send(operation, { query: `${new URLSearchParams(REFUSED[operation.id]).toString()}&${query}` })
    }
  })
})

/** A stream that is not refused would not end. */
const REFUSED: Record<string, Record<string, string>> = { getFeed: { allowed: 'maybe', types: 'none' } }

test('anything for the id in a path', async () => {
  const ids = [
    '%',
    '%zz',
    '%00',
    '%ff',
    '..',
    '.',
    '%2e%2e',
    '%2f',
    'a/b',
    ';x=1',
    'x'.repeat(8000),
    '%F0%9F%92%A9',
  ]
  for (const operation of operations.filter(({ path }) => path.includes('{id}'))) {
    for (const [turn, id] of [...ids, ...HOSTILE_STRINGS.map(encoded)].entries()) {
      await send(operation, { id, body: { ifEpoch: 0 }, key: keyOf(operation, turn) })
    }
  }
})

test('anything for a key', async () => {
  const { runtime, full } = world.authority.keys
  const others = [
    '',
    ' ',
    'org_',
    'org_full_x',
    'Bearer x',
    '__proto__',
    "' OR 1=1 --",
    'é'.repeat(80),
    'x'.repeat(8000),
  ]
  const almost = [
    full.slice(0, -1),
    `${full}0`,
    full.toUpperCase(),
    `${full},${full}`,
    runtime.replace('runtime', 'full'),
  ]
  for (const operation of operations.filter(({ kinds }) => kinds.length > 0)) {
    const body = operation.method === 'POST' ? { body: { deviceId: DEVICE } } : {}
    for (const key of [...others, ...almost])
      expect(await send(operation, { key, ...body })).toMatch(/^401 KEY_(MISSING|INVALID)$/)
  }
})

test('anything for last-event-id', async () => {
  const feed = world.operation('getFeed')
  for (const id of ['x', '-1', '0'.repeat(36), '%00', "'; DROP TABLE audit; --", 'é', 'x'.repeat(8000)]) {
    expect(await send(feed, { headers: { 'last-event-id': id } })).toBe('400 BAD_REQUEST')
  }
})

test('anything anywhere', { timeout: 60_000 * TIMES }, async () => {
  const withFields = posts.filter(({ body }) => placesIn(body as Record<string, unknown>).length > 0)
  const anything = fc.constantFrom(...withFields.map(({ id }) => id)).chain((call) =>
    fc.record({
      call: fc.constant(call),
      places: fc.uniqueArray(
        fc.constantFrom(...placesIn(world.operation(call).body as Record<string, unknown>)),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
      values: fc.array(hostileValue, { minLength: 4, maxLength: 4 }),
      id: hostileString.map(encoded),
      turn: fc.nat(60),
      cut: fc.option(fc.nat(200), { freq: 6 }),
    }),
  )
  await fc.assert(
    fc.asyncProperty(anything, async ({ call, places, values, id, turn, cut }) => {
      const operation = world.operation(call)
      const schema = operation.body as Record<string, unknown>
      const whole = places.reduce<unknown>(
        (body, place, index) => withValue(merged(body, sampleOf(schema, place)), place, values[index]),
        sampleOf(schema),
      )
      const body = cut === null ? whole : JSON.stringify(whole).slice(0, cut)
      const key = keyOf(operation, turn)
      await send(operation, operation.path.includes('{id}') ? { id, body, key } : { body, key })
    }),
    { numRuns: 400 * TIMES, seed: SEED },
  )
})

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}
