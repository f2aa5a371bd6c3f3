// Gates as whole processes: real signals, real exit statuses, a journal on disk, and a real control plane.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { runNode, type Program } from '../fixtures/program.ts'

const CHILD = join(import.meta.dirname, 'child.ts')

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestControlPlane({ plan: 'scale' })
})
afterAll(() => authority.close())

let count = 0
/** A worker with devices and a directory of its own, which outlives its processes. */
function worker() {
  count += 1
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-gates-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const ledgerFile = join(dir, 'ledger')
  const env = {
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    MACHINEID_DEVICE_ID: `worker:test${count}:tool-server:01`,
    OPERATOR_KEY: authority.keys.operator,
    VALIDATE_TIMEOUT_MS: '3000',
    DATA_DIR: dir,
    LEDGER: ledgerFile,
  }
  return {
    device: `worker:test${count}:payments:01`,
    serverDevice: env.MACHINEID_DEVICE_ID,
    ledger: () =>
      existsSync(ledgerFile) ? readFileSync(ledgerFile, 'utf8').trim().split('\n').map(Number) : [],
    journalIsClosed: () =>
      existsSync(join(dir, 'journal.sqlite')) && !existsSync(join(dir, 'journal.sqlite-wal')),
    run: (mode: string, more: Record<string, string> = {}) =>
      runNode(CHILD, [], { ...env, MODE: mode, ...more }),
  }
}

/** Lines of a log may overtake each other on their way out; none is missing. */
const fatal = (log: readonly Record<string, unknown>[]) => log.find(({ level }) => level === 'fatal')

/** What it said, and its log: every line of it is whole. */
async function all(program: Program) {
  const status = await program.ended
  const output = program.output()
  expect(output).toMatch(/\n$/)
  const lines = output.trimEnd().split('\n')
  const log = lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  return { status, said: lines.filter((line) => !line.startsWith('{')), log, errors: program.errors() }
}

describe('exit, once denied', () => {
  test('G1: the unit in hand settles, nothing of the next starts, status 1; after the restore a new process goes on', async () => {
    const { device, ledger, journalIsClosed, run } = worker()
    const first = await all(run('loop', { REVOKE_AT: '3' }))
    expect(first).toMatchObject({ status: 1, errors: '' })
    // Unit 3 had begun, and was denied right before its effect.
    expect(first.said).toEqual([
      'main',
      'started 1',
      'settled 1',
      'started 2',
      'settled 2',
      'started 3',
      'given back 3',
    ])
    expect(fatal(first.log)).toMatchObject({
      level: 'fatal',
      gate: 'bill',
      code: 'DEVICE_REVOKED',
      device_id: device,
      request_id: expect.stringMatching(/./),
      msg: 'denied, exiting',
    })
    expect([ledger(), journalIsClosed()]).toEqual([[1, 2], true])

    // Its server device is allowed, so it starts, and its loop is denied before anything.
    const second = await all(run('loop'))
    expect(second).toMatchObject({ status: 1, said: ['main'] })

    await authority.restore(device)
    const third = await all(run('loop'))
    expect(third).toMatchObject({ status: 0, errors: '' })
    expect(third.said.slice(-2)).toEqual([
      'behind the loop: finished 6',
      'behind the gate: undefined, 0 listeners',
    ])
    expect(ledger()).toEqual([1, 2, 3, 4, 5, 6])
  }, 60_000)

  test('several at a time: those that run settle first', async () => {
    const { ledger, run } = worker()
    const { status, said } = await all(run('loop', { REVOKE_AT: '3', CONCURRENCY: '2' }))
    expect(status).toBe(1)
    expect(said.slice(-2)).toEqual(['settled 2', 'given back 3'])
    expect(said).not.toContain('started 4')
    expect(ledger()).toEqual([1, 2])
  }, 60_000)

  test('a job that is denied does nothing, lets the one that runs settle, and exits', async () => {
    const { status, said, log } = await all(worker().run('job'))
    expect(said).toEqual(['main', 'job began', 'job ended'])
    expect(fatal(log)).toMatchObject({ gate: 'nightly', code: 'DEVICE_REVOKED', msg: 'denied, exiting' })
    expect(status).toBe(1)
  }, 60_000)
})

describe('the startup gate', () => {
  test('G1: denied, it exits with status 1 and has started nothing', async () => {
    const { serverDevice, run } = worker()
    await authority.register(serverDevice)
    await authority.revoke(serverDevice)
    const { status, said, log, errors } = await all(run('ends'))
    expect([status, said, errors]).toEqual([1, [], ''])
    const denied = {
      gate: 'startup',
      code: 'DEVICE_REVOKED',
      device_id: serverDevice,
      msg: 'denied, exiting',
    }
    expect(fatal(log)).toMatchObject(denied)
  }, 60_000)

  test('G4: so it does when nobody answers', async () => {
    const nobody = { MACHINEID_BASE_URL: 'http://127.0.0.1:1' }
    const { status, said, log } = await all(worker().run('ends', nobody))
    expect([status, said]).toEqual([1, []])
    expect(fatal(log)).toMatchObject({ code: 'AUTHORITY_UNREACHABLE' })
  }, 60_000)

  test('wait: starts once it is restored; throw: rejects', async () => {
    const { serverDevice, run } = worker()
    await authority.register(serverDevice)
    await authority.revoke(serverDevice)
    const thrown = await all(run('ends', { ON_DENIED: 'throw' }))
    expect(thrown).toMatchObject({ status: 1, said: [], errors: expect.stringContaining('StartupDenied') })
    const waiting = run('ends', { ON_DENIED: 'wait' })
    await waiting.printed('was denied')
    expect(waiting.output()).not.toContain('main')
    await authority.restore(serverDevice)
    const { status, said } = await all(waiting)
    expect([status, said]).toEqual([0, ['main', 'behind the gate: the result, 0 listeners']])
  }, 60_000)

  test('a signal while it waits ends it with status 1: it has done nothing', async () => {
    const { serverDevice, run } = worker()
    await authority.register(serverDevice)
    await authority.revoke(serverDevice)
    const waiting = run('ends', { ON_DENIED: 'wait' })
    await waiting.printed('was denied')
    waiting.process.kill('SIGTERM')
    expect(await all(waiting)).toMatchObject({ status: 1, said: [] })
  }, 60_000)
})

describe('SIGTERM', () => {
  test('the running unit gets its signal and settles, the next does not start, the journal is closed, status 0', async () => {
    const { ledger, journalIsClosed, run } = worker()
    const working = run('long')
    await working.printed('working 1')
    working.process.kill('SIGTERM')
    const { status, said, errors } = await all(working)
    expect(said.slice(0, 4)).toEqual(['main', 'working 1', 'settled 1', 'behind the loop: closed 1'])
    expect([status, errors, ledger(), journalIsClosed()]).toEqual([0, '', [1], true])
  }, 60_000)

  test.each([
    ['until', 7, 'what main set'],
    ['throws', 1, 'for a main that throws'],
    ['forever', 1, 'for a main that does not end'],
  ])(
    '%s: status %i, %s',
    async (mode, expected) => {
      const program = worker().run(mode, { GRACE_MS: '100' })
      await program.printed('set up')
      program.process.kill('SIGTERM')
      const { status } = await all(program)
      expect(status).toBe(expected)
    },
    60_000,
  )

  test('a second one ends it at once', async () => {
    const program = worker().run('forever')
    await program.printed('set up')
    program.process.kill('SIGTERM')
    await program.printed('shutting down')
    program.process.kill('SIGTERM')
    expect((await all(program)).status).toBe(143)
  }, 60_000)
})

test('settings that cannot work are told without a stack, and status 1', async () => {
  const program = worker().run('loop', { MACHINEID_DEVICE_ID: 'not an id' })
  expect(await program.ended).toBe(1)
  expect(program.output()).toBe('')
  expect(program.errors()).toMatch(/MACHINEID_DEVICE_ID.* \([A-Z_]+\)\n$/s)
  expect(program.errors()).not.toContain('    at ')
})
