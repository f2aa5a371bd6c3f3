// How processes of `startupGate` end: within their grace, with the right status, and with their alerts told.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { createAlerts } from '../../src/gates/alerts.ts'
import { createLogger } from '../../src/log.ts'
import { startGuard } from '../../src/start-guard.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { runNode, type Program } from '../fixtures/program.ts'
import { startSink, type Sink } from './sink.ts'

const CHILD = join(import.meta.dirname, 'child-ends.ts')
const NOBODY = 'http://127.0.0.1:1/'

let authority: TestControlPlane
let sink: Sink
beforeAll(async () => {
  authority = await startTestControlPlane({ plan: 'scale' })
  sink = await startSink()
})
afterAll(async () => {
  await authority.close()
  await sink.close()
})

let count = 0
function worker(mode: string, more: Record<string, string> = {}) {
  count += 1
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-gates-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const serverDevice = `worker:ends${count}:tool-server:01`
  const env = {
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    MACHINEID_DEVICE_ID: serverDevice,
    OPERATOR_KEY: authority.keys.operator,
    DATA_DIR: dir,
    MODE: mode,
    SINK: NOBODY,
    ...more,
  }
  return { env, serverDevice, run: () => runNode(CHILD, [], env) }
}

async function all(program: Program) {
  const status = await program.ended
  const lines = program.output().trimEnd().split('\n')
  const log = lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
  return { status, said: lines.filter((line) => !line.startsWith('{')), log, errors: program.errors() }
}

const told = (serverDevice: string) =>
  sink.received
    .map(({ alert }) => alert.data)
    .filter((data) => data.server_device_id === serverDevice)
    .map(({ boundary, code, count: times }) => `${boundary} ${code} ${times}`)

describe('while nobody takes its alerts', () => {
  test('a process that is denied ends with status 1, although nothing else keeps it alive', async () => {
    const { status, log, errors } = await all(worker('denied').run())
    expect({ status, errors }).toEqual({ status: 1, errors: '' })
    expect(log).toContainEqual(expect.objectContaining({ gate: 'bill', msg: 'denied, exiting' }))
  }, 60_000)

  test('one that gets SIGTERM ends with status 0', async () => {
    const program = worker('signalled').run()
    await program.printed('set up')
    program.process.kill('SIGTERM')
    expect(await all(program)).toMatchObject({ status: 0, errors: '' })
  }, 60_000)

  test('a startup that is denied ends with status 1', async () => {
    const { serverDevice, run } = worker('counts', { GIVEN: 'yes' })
    await authority.register(serverDevice)
    await authority.revoke(serverDevice)
    expect(await all(run())).toMatchObject({ status: 1, said: [], errors: '' })
  }, 60_000)
})

describe('alerts that are given to what starts the process', () => {
  test.each(['exit', 'throw'])(
    '%s: the denial of the startup itself is told',
    async (onDenied) => {
      const { serverDevice, run } = worker('counts', { GIVEN: 'yes', SINK: sink.url, ON_DENIED: onDenied })
      await authority.register(serverDevice)
      await authority.revoke(serverDevice)
      const { status } = await all(run())
      expect({ status, told: told(serverDevice) }).toEqual({
        status: 1,
        told: ['startup DEVICE_REVOKED 1'],
      })
    },
    60_000,
  )

  test('startGuard tells it too, before it throws', async () => {
    const { serverDevice, env } = worker('none')
    await authority.register(serverDevice)
    await authority.revoke(serverDevice)
    const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
    const log = createLogger({ level: 'silent' })
    const alerts = createAlerts({ url: sink.url, secret, log })
    await expect(startGuard({ env, log, alerts })).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
    expect(told(serverDevice)).toEqual(['startup DEVICE_REVOKED 1'])
    await alerts.close()
  })

  test('are closed by the startup gate: what was only counted is told too', async () => {
    const { serverDevice, run } = worker('counts', { GIVEN: 'yes', SINK: sink.url })
    expect(await all(run())).toMatchObject({ status: 0, said: ['main', 'behind the gate'] })
    expect(told(serverDevice)).toEqual(['task JOURNAL_UNAVAILABLE 1', 'task JOURNAL_UNAVAILABLE 2'])
  }, 60_000)
})

describe('graceMs', () => {
  test('is what an exit gives the work of other gates; what it cuts off is logged and counted', async () => {
    const { serverDevice, run } = worker('deaf', { GRACE_MS: '200' })
    const { status, log } = await all(run())
    expect(status).toBe(1)
    expect(log).toContainEqual(
      expect.objectContaining({
        level: 'error',
        gate: 'bill',
        grace_ms: 200,
        calls: { [serverDevice]: 1 },
        msg: expect.stringContaining('cut off') as string,
      }),
    )
  }, 60_000)

  test('is shared by running work and main: SIGTERM takes it once', async () => {
    const graceMs = 3000
    const program = worker('late', { GRACE_MS: String(graceMs) }).run()
    await program.printed('set up')
    program.process.kill('SIGTERM')
    const { status, log } = await all(program)
    const at = (message: RegExp) =>
      Date.parse(String(log.find(({ msg }) => message.test(String(msg)))?.['time']))
    expect(status).toBe(1)
    expect(at(/^main did not end in time/) - at(/^shutting down/)).toBeLessThan(graceMs * 1.5)
  }, 60_000)
})
