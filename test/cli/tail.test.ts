import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { feedLine } from '../../src/cli/tail-text.ts'
import { createPaint } from '../../src/cli/terminal.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import {
  EMAIL,
  hp,
  PAYMENTS,
  startWorld,
  until,
  type Ran,
  type RunOptions,
  type World,
} from './operate-world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld({ DECISION_LOG: 'all' })
})
afterAll(() => world[Symbol.asyncDispose]())

interface Tail {
  readonly out: () => string
  readonly ran: Promise<Ran>
  readonly interrupt: () => void
}

/** `holdpoint tail` in this process, until it is interrupted. Resolves once it shows what happens. */
async function tail(
  args: readonly string[],
  env: Record<string, string>,
  nudge: () => Promise<unknown>,
): Promise<Tail> {
  const controller = new AbortController()
  let out = ''
  const options: RunOptions = { signal: controller.signal, onOut: (all) => void (out = all) }
  const ran = hp(['tail', ...args], env, options)
  await until(
    async () => (await nudge(), out),
    (seen) => seen !== '',
  )
  return { out: () => out, ran, interrupt: () => controller.abort() }
}

/** A change that every tail without a filter for decisions shows. */
const revokeEmail = () => world.run(['devices', 'revoke', EMAIL, '--reason', 'nudge'])

describe('tail', () => {
  test('shows decisions, stops and restores as they happen, one a line; Ctrl-C ends it with 130', async () => {
    const { out, ran, interrupt } = await tail([], world.env, revokeEmail)
    await world.run(['devices', 'restore', EMAIL])
    await world.pay('p1', 'INV-1001', 12_550)
    await world.run(['devices', 'revoke', PAYMENTS, '--reason', 'odd refunds'])
    const denied = await world.pay('p2', 'INV-1002', 4820)
    await until(
      async () => out(),
      (seen) => seen.includes(String(denied['request_id'])),
    )
    interrupt()
    const { status } = await ran
    expect(status).toBe(130)
    const lines = out().trimEnd().split('\n')
    expect(lines.every((line) => /^\d\d:\d\d:\d\d\.\d{3}  /.test(line))).toBe(true)
    expect(lines.find((line) => line.includes('device.unrevoke'))).toMatch(/RESTORE .*email:01  by operator:/)
    expect(lines.find((line) => line.includes('odd refunds'))).toMatch(
      /STOP .*device\.revoke .*payments:01  by stop:.*epoch \d+/,
    )
    expect(lines.find((line) => line.includes('allow'))).toMatch(
      /allow {4}ALLOW .*side_effect|allow {4}ALLOW .*tool/,
    )
    expect(
      lines.find((line) => line.includes(String(denied['request_id'])) && line.includes('DENY')),
    ).toMatch(/DENY {5}DEVICE_REVOKED {6}tool .*payments:01 {2}send_payment/)
    await world.run(['devices', 'restore', PAYMENTS])
  })

  test('--json prints one object a line; --decisions-only leaves changes out; filters hold', async () => {
    await world.run(['devices', 'revoke', PAYMENTS])
    const args = ['--json', '--decisions-only', '--denied', '--device', PAYMENTS]
    let call = 0
    const { out, ran, interrupt } = await tail(args, world.env, () =>
      world.pay(`d${++call}`, 'INV-1002', 4820),
    )
    await revokeEmail()
    interrupt()
    await ran
    const events = out()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; decision: object })
    expect(events.length).toBeGreaterThan(0)
    for (const event of events) {
      expect(event).toMatchObject({
        type: 'decision',
        decision: { allowed: false, deviceId: PAYMENTS, code: 'DEVICE_REVOKED' },
      })
    }
    await world.run(['devices', 'restore', PAYMENTS])
    await world.run(['devices', 'restore', EMAIL])
  })

  test('goes on after the control plane was away, and says so', async () => {
    const authority: TestControlPlane = await startTestLanes()
    onTestFinished(() => authority.close())
    await authority.register(PAYMENTS)
    const env = { CONSOLE_URL: authority.operatorUrl, HOLDPOINT_KEY: authority.keys.viewer }
    const { out, ran, interrupt } = await tail([], env, () => authority.revoke(PAYMENTS))
    await authority.restart()
    const before = out().length
    await until(
      async () => {
        await authority.restore(PAYMENTS)
        return out().slice(before)
      },
      (seen) => seen.includes('device.unrevoke'),
      10_000,
    )
    interrupt()
    expect((await ran).err).toMatch(/Lost the control plane[\s\S]*Connected again/)
  })

  test('says at the start when only denials are recorded, and not with --json or --denied', async () => {
    const authority = await startTestLanes()
    onTestFinished(() => authority.close())
    await authority.register(PAYMENTS)
    const env = { CONSOLE_URL: authority.operatorUrl, HOLDPOINT_KEY: authority.keys.viewer }
    const errOf = async (args: string[]) => {
      const { ran, interrupt } = await tail(args, env, async () => {
        await authority.revoke(PAYMENTS)
        await authority.post('/api/v1/devices/validate', { deviceId: PAYMENTS }, authority.keys.runtime)
      })
      interrupt()
      return (await ran).err
    }
    expect(await errOf([])).toContain('DECISION_LOG=all')
    expect(await errOf(['--json'])).toBe('')
    expect(await errOf(['--denied'])).toBe('')
  })

  test('a pipe whose reader leaves ends it quietly with 0', async () => {
    const main = join(import.meta.dirname, '../../src/main.ts')
    const child = spawn(process.execPath, ['--conditions=holdpoint-source', main, 'tail'], {
      cwd: world.dir,
      env: { PATH: process.env['PATH'] ?? '', ...world.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let err = ''
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    let ended: number | null | undefined
    void once(child, 'close').then(([status]) => (ended = status as number | null))
    let read = false
    child.stdout.once('data', () => {
      read = true
      child.stdout.destroy()
    })
    await until(async () => (await revokeEmail(), read), Boolean, 10_000)
    await until(
      async () => (await revokeEmail(), ended),
      (status) => status !== undefined,
      10_000,
    )
    expect({ ended, err }).toEqual({ ended: 0, err: '' })
    await world.run(['devices', 'restore', EMAIL])
  })

  test('a stop key may not see evidence: status 3; a control plane that is not there: status 1; bad arguments: 2', async () => {
    const denied = await world.run(['tail'], { env: { HOLDPOINT_KEY: world.secrets.stop } })
    expect({ status: denied.status, err: denied.err }).toMatchObject({
      status: 3,
      err: expect.stringContaining('HOLDPOINT_KEY'),
    })
    const away = await hp(['tail'], {
      CONSOLE_URL: 'http://127.0.0.1:9',
      HOLDPOINT_KEY: world.secrets.viewer,
    })
    expect({ status: away.status, err: away.err }).toMatchObject({
      status: 1,
      err: expect.stringContaining('npx holdpoint start'),
    })
    expect((await world.run(['tail', '--denied', '--allowed'])).status).toBe(2)
  })
})

test('what others wrote stays on its line: a tool or reason with a line break makes no second one', () => {
  const decision = {
    request_id: 'r1',
    deviceId: PAYMENTS,
    allowed: true,
    code: 'ALLOW',
    asked: 'validate' as const,
    boundary: 'tool\nDENY',
    tool: 'pay\r\n12:00:00.000  DENY',
    callId: null,
    runId: 'run\t1',
    replica: null,
    keyId: 'k',
    at: '2026-11-22T08:00:00.000Z',
  }
  expect(feedLine({ type: 'decision', decision }, createPaint(false))).not.toMatch(/[\r\n\t]/)
})
