import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { processesWith, runMain, temporaryDirectory, type Program } from '../fixtures/program.ts'

const DEVICE = 'openai-agent:dev:payments:01'
const onLinux = existsSync('/proc/self/environ')

interface Keys {
  readonly orgId: string
  readonly runtime: string
  readonly stop: string
  readonly operator: string
}

async function startControlPlane(dir: string, env: Record<string, string> = {}) {
  const program = runMain(['control-plane'], {
    DATA_DIR: dir,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
    ...env,
  })
  await program.printed('control plane is listening')
  const listening = lines(program).find(({ msg }) => msg === 'control plane is listening')
  const read = (name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as object
  return {
    program,
    url: String(listening?.['url']),
    operatorUrl: String(listening?.['operator_url']),
    keys: { ...read('operator.json'), ...read('tool-server.json') } as Keys,
  }
}

function lines(program: Program): Record<string, unknown>[] {
  return program
    .output()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

async function post(url: string, call: string, key: string, body: object) {
  const answer = await fetch(`${url}/api/v1/${call}`, {
    method: 'POST',
    headers: { 'x-org-key': key, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

describe('the control plane as a program', () => {
  test('serves validates on one port and stops on both, and SIGTERM ends it with status 0 and nothing left', async () => {
    await using dir = await temporaryDirectory()
    const { program, url, operatorUrl, keys } = await startControlPlane(dir.path)
    expect(await post(url, 'devices/register', keys.runtime, { deviceId: DEVICE })).toMatchObject({
      status: 200,
    })
    for (const lane of [url, operatorUrl]) {
      const stop = await post(lane, 'devices/revoke', keys.stop, { deviceId: DEVICE })
      expect(stop.status).toBe(200)
      const denied = await post(url, 'devices/validate', keys.runtime, { deviceId: DEVICE })
      expect(denied.body).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED' })
      const ifEpoch = stop.body['epoch']
      await post(lane, 'devices/unrevoke', keys.operator, { deviceId: DEVICE, ifEpoch })
      const allowed = await post(url, 'devices/validate', keys.runtime, { deviceId: DEVICE })
      expect(allowed.body).toMatchObject({ allowed: true })
    }
    const wrong = await post(operatorUrl, 'devices/validate', keys.runtime, { deviceId: DEVICE })
    expect(wrong).toMatchObject({ status: 421, body: { code: 'WRONG_LANE' } })

    // Neither a stream nor a connection that asks nothing keeps it from ending.
    const feed = await fetch(`${url}/api/v1/feed`, { headers: { 'x-org-key': keys.operator } })
    expect(feed.headers.get('content-type')).toMatch(/^text\/event-stream/)
    const silent = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
    await once(silent, 'connect')
    const startMs = performance.now()
    program.process.kill('SIGTERM')
    await feed.text()
    expect(await program.ended).toBe(0)
    expect(performance.now() - startMs).toBeLessThan(4000)
    if (onLinux) expect(processesWith(dir.path)).toEqual([])
  })

  test('one change on the feed is heard through the agent lane as it happens', async () => {
    await using dir = await temporaryDirectory()
    const { program, url, operatorUrl, keys } = await startControlPlane(dir.path)
    await post(url, 'devices/register', keys.runtime, { deviceId: DEVICE })
    const feed = await fetch(`${url}/api/v1/feed`, { headers: { 'x-org-key': keys.operator } })
    const reader = (feed.body as ReadableStream<Uint8Array>).getReader()
    await post(operatorUrl, 'devices/revoke', keys.stop, { deviceId: DEVICE })
    let heard = ''
    while (!heard.includes('device.revoke')) {
      const { value, done } = await reader.read()
      if (done) break
      heard += new TextDecoder().decode(value)
    }
    expect(heard).toContain(DEVICE)
    await reader.cancel()
    program.process.kill('SIGTERM')
    expect(await program.ended).toBe(0)
  })

  test('a thread of validates that dies takes the process with it: status 1, and a line that says so', async () => {
    await using dir = await temporaryDirectory()
    const preload = join(dir.path, 'kill-the-thread.mjs')
    writeFileSync(
      preload,
      `process.on('worker', (worker) => process.on('SIGUSR2', () => worker.postMessage(null)))\n`,
    )
    const { program } = await startControlPlane(dir.path, { NODE_OPTIONS: `--import=${preload}` })
    program.process.kill('SIGUSR2')
    expect(await program.ended).toBe(1)
    expect(lines(program).at(-1)).toMatchObject({
      level: 'fatal',
      msg: 'a thread that answers validates ended',
    })
  })

  test(
    'kill -9 while stops are acked on both lanes: each acked stop holds at the next start',
    { timeout: 60_000 },
    async () => {
      await using dir = await temporaryDirectory()
      const acked = new Map<string, number>()
      const rounds = 3
      for (let round = 0; round <= rounds; round++) {
        const { program, url, operatorUrl, keys } = await startControlPlane(dir.path)
        for (const [deviceId, epoch] of acked) {
          const answer = await post(url, 'devices/validate', keys.runtime, { deviceId })
          expect(answer.body).toMatchObject({ allowed: false })
          expect(answer.body['epoch']).toBeGreaterThanOrEqual(epoch)
        }
        if (round === rounds) {
          program.process.kill('SIGKILL')
          break
        }
        const device = `openai-agent:dev:payments:${round}`
        await post(url, 'devices/register', keys.runtime, { deviceId: device })
        let running = true
        const load = Array.from({ length: 8 }, async () => {
          while (running)
            await post(url, 'devices/validate', keys.runtime, { deviceId: device }).catch(() => {})
        })
        const stopping = [url, operatorUrl].map(async (lane) => {
          for (let turn = 0; running; turn++) {
            const stop = await post(lane, 'devices/revoke', keys.stop, { deviceId: device }).catch(
              () => undefined,
            )
            if (stop?.status === 200) {
              acked.set(device, Math.max(acked.get(device) ?? 0, Number(stop.body['epoch'])))
            }
            if (turn === 40 + round * 10) program.process.kill('SIGKILL')
          }
        })
        await program.ended
        running = false
        await Promise.all([...load, ...stopping])
      }
      expect(acked.size).toBe(rounds)
    },
  )
})
