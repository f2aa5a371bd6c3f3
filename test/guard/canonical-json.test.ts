import { expect, test } from 'vitest'
import { canonicalJson } from '../../src/canonical-json.ts'

class Money {
  readonly cents: number = 500
}
class Purse {
  readonly #cents = 500
  get cents() {
    return this.#cents
  }
}
class Tags extends Set<string> {
  readonly owner = 'alice'
}

test.each([
  ['a Set', new Set(['a'])],
  ['a class of Sets, with a field beside', new Tags(['a'])],
  ['a Map', new Map([['a', 1]])],
  ['a WeakMap', new WeakMap()],
  ['a WeakSet', new WeakSet()],
  ['an ArrayBuffer', new ArrayBuffer(8)],
  ['a SharedArrayBuffer', new SharedArrayBuffer(8)],
  ['a view', new DataView(new ArrayBuffer(8))],
  ['a promise', Promise.resolve('a')],
  ['a regular expression', /a/u],
  ['an Error', new Error('a')],
  ['an Error with a code', Object.assign(new Error('a'), { code: 'E_A' })],
  ['headers', new Headers({ a: '1' })],
  ['search parameters', new URLSearchParams('a=1')],
  ['a Blob', new Blob(['a'])],
  ['a signal', new AbortController().signal],
  ['a class that shows nothing', new Purse()],
  ['a function', () => 'a'],
  ['a symbol', Symbol('a')],
  ['what is inherited', Object.create({ a: 1 })],
])('JSON does not show %s: refused, at the top and within', (_what, value: unknown) => {
  expect(() => canonicalJson(value)).toThrow(/does not show what is in this .*toJSON/)
  expect(() => canonicalJson({ list: [{ to: value }] })).toThrow(/does not show what is in "to" \(\w+\)/)
})

test.each([
  ['sorted members', { b: 1, a: [{ d: 1, c: null }] }, '{"a":[{"c":null,"d":1}],"b":1}'],
  ['undefined', undefined, 'null'],
  ['a member that is undefined', { a: undefined }, '{}'],
  ['an object without a prototype', Object.create(null), '{}'],
  ['an empty object and an empty array', [{}, []], '[{},[]]'],
  ['a class with fields', new Money(), '{"cents":500}'],
  ['a date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ['a Buffer', Buffer.from([1, 2]), '{"data":[1,2],"type":"Buffer"}'],
  ['bytes', Uint8Array.of(1, 2), '{"0":1,"1":2}'],
  ['no bytes', new Uint8Array(0), '{}'],
  ['a URL', new URL('https://example.com/'), '"https://example.com/"'],
  [
    'a Set that says how it is shown',
    Object.assign(new Set(['a']), { toJSON: (): unknown => ['a'] }),
    '["a"]',
  ],
  ['a member named __proto__', JSON.parse('{"__proto__":{"a":1}}'), '{"__proto__":{"a":1}}'],
])('%s: shown', (_what, value: unknown, text) => {
  expect(canonicalJson(value)).toBe(text)
})

test('what JSON cannot hold is refused as ever', () => {
  const circle: { self?: unknown } = {}
  circle.self = circle
  expect(() => canonicalJson(circle)).toThrow(/circular/)
  expect(() => canonicalJson(10n)).toThrow(/BigInt/)
})
