// The end of a denied process, where something is in its way. Real control plane, real processes.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { runNode } from '../fixtures/program.ts'

const CHILD = join(import.meta.dirname, 'child-hard-ends.ts')
const ENDS_WITHIN_MS = 20_000

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestControlPlane({ plan: 'scale' })
})
afterAll(() => authority.close())

let count = 0
async function ended(mode: string, more: Record<string, string> = {}) {
  count += 1
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-gates-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const read = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [])
  const ledger = join(dir, 'ledger')
  const logFile = join(dir, 'log')
  const program = runNode(CHILD, [], {
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    MACHINEID_DEVICE_ID: `worker:hard${count}:tool-server:01`,
    OPERATOR_KEY: authority.keys.operator,
    DATA_DIR: dir,
    LEDGER: ledger,
    LOG_FILE: logFile,
    MODE: mode,
    ...more,
  })
  const { promise: tooLate, resolve } = Promise.withResolvers<'still running'>()
  const timer = setTimeout(resolve, ENDS_WITHIN_MS, 'still running')
  const status = await Promise.race([program.ended, tooLate])
  clearTimeout(timer)
  return {
    status,
    said: read(ledger),
    logged: read(logFile),
    output: program.output(),
    errors: program.errors(),
  }
}

test('G8: a log that is written later is written to its end', async () => {
  const { status, logged } = await ended('exit', { LOG: 'slow' })
  expect(status).toBe(1)
  expect(logged.map((line) => (JSON.parse(line) as { msg: string }).msg)).toContain('denied, exiting')
}, 60_000)

test.each(['never', 'none'])(
  'a log whose flush does not end (%s) keeps no process alive',
  async (LOG) => {
    const { status, errors } = await ended('exit', { LOG })
    expect([status, errors]).toEqual([1, ''])
  },
  60_000,
)

test('what another loop has on its way happens, and what it holds is given back', async () => {
  const { status, said } = await ended('two')
  expect(status).toBe(1)
  expect(said.toSorted()).toEqual(['effect happened', 'given back 2'])
}, 60_000)

test('denied is denied: also where the unit beside then fails, nothing behind the loop runs', async () => {
  const { status, said, output } = await ended('fails')
  expect([status, said]).toEqual([1, []])
  expect(output).toContain('denied, exiting')
}, 60_000)

test('so it is where the guard cannot be closed well', async () => {
  const { status, said, output } = await ended('close')
  expect([status, said]).toEqual([1, []])
  expect(output).toContain('the disk is full')
}, 60_000)

test('a main that ends while its loop runs is told of it', async () => {
  const { said, output } = await ended('forgot')
  expect(said).toEqual(['behind the gate'])
  expect(output).toContain('main has ended while work was running')
}, 60_000)

test('a unit that cannot be given back keeps no process alive', async () => {
  const { status, said, output } = await ended('broker')
  expect([status, said]).toEqual([1, []])
  // The stop was pushed too, which ends what runs; why is what the authority says.
  expect(output).toMatch(/"code":"(DEVICE_REVOKED|STOP_PUSHED)".*"denied, exiting"/)
}, 60_000)

test('a job that calls itself does not wait for itself', async () => {
  const { status, said } = await ended('nested')
  expect([status, said]).toEqual([1, []])
}, 60_000)
