// What nobody should send, for any place that openapi.json says something can be sent to.

import fc from 'fast-check'

type Json = Record<string, unknown>

/** A place in a request, as names and indexes. */
export type Place = readonly (string | number)[]

export const HOSTILE_STRINGS: readonly string[] = [
  '',
  ' ',
  ' padded ',
  '\u0000',
  'a\u0000b',
  'line\r\nbreak: injected',
  '\u001b[31mred\u001b[0m',
  '\u202Egnirts\u202C',
  '\uFEFF',
  '\uD800',
  'half \uDC00 a pair',
  '👩‍👩‍👧‍👦'.repeat(20),
  'ａｄｍｉｎ',
  'İ',
  '__proto__',
  'constructor',
  'toString',
  "'; DROP TABLE devices; --",
  '" OR 1=1 --',
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  '${7*7}{{7*7}}<%= 7*7 %>',
  '../../../../etc/passwd',
  '%00%2e%2e%2f',
  '=HYPERLINK("http://evil.example")',
  '*',
  '*:*:*:*:*:*:*:*:*',
  ':::::::',
  'null',
  'true',
  'NaN',
  '-1',
  '1e309',
  '2026-13-45T99:99:99Z',
  '+275760-09-13T00:00:00.001Z',
  '9'.repeat(400),
  'x'.repeat(257),
  'x'.repeat(10_000),
]

export const HOSTILE_VALUES: readonly unknown[] = [
  ...HOSTILE_STRINGS,
  null,
  true,
  false,
  0,
  -1,
  -0,
  0.5,
  2 ** 53,
  -(2 ** 53),
  1e300,
  5e-324,
  [],
  {},
  [[]],
  [null],
  { length: 3 },
  { toString: 'x', valueOf: null },
  JSON.parse('{"__proto__":{"allowed":true}}'),
  JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`),
  Array.from({ length: 2000 }, () => 'a:b:c:d'),
]

/** Not what `JSON.stringify` would ever say, put where a value belongs. */
export const HOSTILE_TOKENS: readonly string[] = [
  'NaN',
  'Infinity',
  '-Infinity',
  'undefined',
  '1e999',
  '-1e999',
  '0x10',
  '01',
  '.5',
  '1_000',
  `${'9'.repeat(400)}`,
  '"\\ud800"',
  '"\\u0000"',
  '"unterminated',
  '"\u0001"',
  '{"a":1,"a":2}',
  "'single'",
  '[1,]',
  '/* comment */ 1',
  `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`,
  '['.repeat(100_000),
]

export const hostileString: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...HOSTILE_STRINGS),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({
    unit: fc.integer({ min: 0, max: 31 }).map((code) => String.fromCharCode(code)),
    maxLength: 40,
  }),
  fc.string({
    unit: fc.integer({ min: 0xd800, max: 0xdfff }).map((code) => String.fromCharCode(code)),
    maxLength: 5,
  }),
)

export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: hostileString },
  { weight: 2, arbitrary: fc.constantFrom(...HOSTILE_VALUES) },
  { weight: 1, arbitrary: fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger()) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
)

/** Every place in what a schema describes, the values that hold others too. */
export function placesIn(schema: Json, at: Place = []): Place[] {
  const { properties, items, additionalProperties } = schema as Record<string, Json | undefined>
  const below = [
    ...Object.entries(properties ?? {}).flatMap(([name, of]) => placesIn(of as Json, [...at, name])),
    ...(items === undefined ? [] : placesIn(items, [...at, 0])),
    ...(typeof additionalProperties === 'object' ? placesIn(additionalProperties, [...at, 'name']) : []),
  ]
  return at.length === 0 ? below : [at, ...below]
}

/** Those places that take any text. */
export function textsIn(schema: Json): Place[] {
  return placesIn(schema).filter((place) => {
    const { type, enum: choices, pattern, format } = place.reduce(partOf, schema)
    return type === 'string' && choices === undefined && pattern === undefined && format === undefined
  })
}

function partOf({ properties, items, additionalProperties }: Json, name: string | number): Json {
  return ((properties as Json | undefined)?.[name] ?? items ?? additionalProperties) as Json
}

/** As little as a schema allows that has something at `place`. */
export function sampleOf(schema: Json, place: Place = []): unknown {
  const { type, properties = {}, required = [], items = {}, additionalProperties } = schema
  const [first, ...rest] = place
  if (type === 'array') return [sampleOf(items as Json, rest)]
  if (type !== 'object') return sampleValue(schema)
  const names = new Set([...(required as string[]), ...(typeof first === 'string' ? [first] : [])])
  const of = (name: string) => (properties as Record<string, Json>)[name] ?? (additionalProperties as Json)
  return Object.fromEntries([...names].map((name) => [name, sampleOf(of(name), name === first ? rest : [])]))
}

let emails = 0

function sampleValue({
  type,
  format,
  examples,
  const: only,
  enum: choices,
  minimum,
  minLength,
}: Json): unknown {
  const known = [only, ...((examples ?? choices ?? []) as unknown[])].find((value) => value !== undefined)
  if (known !== undefined) return known
  if (type !== 'string') return Number(minimum ?? 0)
  // Owned by nobody: recovery would come back to it later.
  if (format === 'email') return `sample-${++emails}@example.com`
  return format === 'date-time' ? '2099-01-01T00:00:00Z' : 'x'.repeat(Number(minLength ?? 1))
}

/** `body` with another value at one place. */
export function withValue(body: unknown, [first, ...rest]: Place, value: unknown): unknown {
  if (first === undefined) return value
  if (Array.isArray(body))
    return body.map((item, index) => (index === first ? withValue(item, rest, value) : item))
  const entries = Object.entries(body as Json).map(([name, item]) => [
    name,
    name === first ? withValue(item, rest, value) : item,
  ])
  return Object.fromEntries(entries) as Json
}

/** Both, one over the other. */
export function merged(under: unknown, over: unknown): unknown {
  const isObject = (value: unknown): value is object =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject(under) && isObject(over) ? { ...under, ...over } : over
}
