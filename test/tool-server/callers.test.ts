import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

import {
  callerRecord,
  callersOf,
  createCallerToken,
  readCallers,
  type CallerRecord,
} from '../../src/tool-server/callers.ts'

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-callers-'))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
function fileOf(content: unknown): string {
  const file = join(directory, `${(files += 1)}.json`)
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return file
}

const made = (options: Partial<Parameters<typeof createCallerToken>[0]> = {}) =>
  createCallerToken({ name: 'billing', scopes: ['tools:call'], ...options })

test('a token has 256 random bits and a prefix that secret scanners know', () => {
  const [one, other] = [made(), made()]
  expect(one.token).toMatch(/^hpc_[A-Za-z0-9_-]{43}$/)
  expect(one.token).not.toBe(other.token)
  expect(one.record.id).not.toBe(other.record.id)
})

test('a record holds the SHA-256 of the token and never the token', () => {
  const { token, record } = made()
  expect(record).toEqual({
    id: expect.stringMatching(/^caller_[0-9a-f]{16}$/),
    name: 'billing',
    scopes: ['tools:call'],
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  })
  expect(JSON.stringify(record)).not.toContain(token.slice(4))
  expect(callerRecord(token, record)).toEqual(record)
})

test('a caller is found by its token, and by nothing else', () => {
  const { token, record } = made()
  const callers = callersOf([made().record, record])
  expect(callers.find(token)).toEqual({ id: record.id, name: 'billing', scopes: ['tools:call'] })
  for (const wrong of ['', `${token}x`, token.slice(0, -1), record.sha256, made().token])
    expect(callers.find(wrong)).toBeUndefined()
})

test('two tokens of one id are one caller, so that a token can be replaced', () => {
  const old = made()
  const fresh = made({ id: old.record.id })
  const callers = callersOf([old.record, fresh.record])
  expect(callers.find(fresh.token)?.id).toBe(callers.find(old.token)?.id)
})

test('a file is looked at again for every call: who was added is let in, who was taken out is not', () => {
  const [one, other] = [made(), made()]
  const file = fileOf({ callers: [one.record] })
  const callers = readCallers(file)
  expect([callers.find(one.token)?.id, callers.find(other.token)]).toEqual([one.record.id, undefined])
  writeFileSync(file, JSON.stringify({ callers: [other.record] }))
  expect([callers.find(one.token), callers.find(other.token)?.id]).toEqual([undefined, other.record.id])
})

test('G4: while the file cannot be read nobody is let in, and afterwards it works again', () => {
  const { token, record } = made()
  const file = fileOf({ callers: [record] })
  const callers = readCallers(file)
  writeFileSync(file, '{"callers":')
  expect(() => callers.find(token)).toThrow(expect.objectContaining({ code: 'CALLERS_UNREADABLE' }))
  rmSync(file)
  expect(() => callers.find(token)).toThrow(expect.objectContaining({ code: 'CALLERS_UNREADABLE' }))
  writeFileSync(file, JSON.stringify({ callers: [record] }))
  expect(callers.find(token)?.id).toBe(record.id)
})

const record: CallerRecord = made().record
test.each([
  ['no JSON', 'callers'],
  ['no list', { callers: 'all' }],
  ['a scope that does not exist', { callers: [{ ...record, scopes: ['everything'] }] }],
  ['a token in place of its hash', { callers: [{ ...record, sha256: made().token }] }],
  ['an unknown field', { callers: [{ ...record, admin: true }] }],
])('a file with %s is refused at once, naming the file', (_name, content) => {
  const file = fileOf(content)
  expect(() => readCallers(file)).toThrow(
    expect.objectContaining({ code: 'CALLERS_UNREADABLE', message: expect.stringContaining(file) }),
  )
})

test('a token that landed in the file is not repeated in the error', () => {
  const { token } = made()
  const file = fileOf({ callers: [{ ...record, sha256: token }] })
  expect(() => readCallers(file)).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining(token) }),
  )
})

test('the id "local" is refused: its effects would be those of calls inside the process', () => {
  const file = fileOf({ callers: [{ ...record, id: 'local' }] })
  expect(() => readCallers(file)).toThrow(
    expect.objectContaining({
      code: 'CALLERS_UNREADABLE',
      message: expect.stringContaining('callers[0].id: another id: "local"'),
    }),
  )
})

test.each(['tools:call', 'runs:start'] as const)(
  'whoever may approve must not ask for what is approved: runs:approve beside %s is refused',
  (scope) => {
    const both = made({ scopes: [scope, 'runs:approve'] }).record
    expect(() => readCallers(fileOf({ callers: [both] }))).toThrow('runs:approve goes with runs:resume only')
    const apart = made({ scopes: ['runs:approve', 'runs:resume'] }).record
    expect(() => readCallers(fileOf({ callers: [made({ scopes: [scope] }).record, apart] }))).not.toThrow()
  },
)

test('problems are told in one line of plain text, each with its place', () => {
  const file = fileOf({
    callers: [
      { ...record, sha256: 'AB', scopes: ['everything'] },
      { ...record, id: '' },
    ],
  })
  expect(() => readCallers(file)).toThrow(
    `The caller tokens (CALLER_TOKENS_FILE) cannot be read from ${file}: ` +
      'callers[0].scopes[0]: one of tools:call, runs:start, runs:resume, runs:approve; ' +
      'callers[0].sha256: 64 lowercase hex digits; ' +
      'callers[1].id: 1 to 64 of A-Z, a-z, 0-9, ".", "_", ":" and "-". ' +
      'Expected {"callers":[{"id","name","scopes","sha256"}]}. Until then no caller is known.',
  )
})
