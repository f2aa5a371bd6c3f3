import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { createDrillRunner } from '../../src/programs/drill-runner.ts'
import type { CanaryBody, InspectBody } from '../../src/tool-server-wire.ts'
import { DEVICE, startToolServer, startWorld, type DrillWorld } from './drill-world.ts'

const CANARY = DEVICE('canary', '01')
const FAST = ['drill', '--for', '1', '--rate', '60', '--no-cut', '--json']

let world: DrillWorld
let closing: (() => Promise<unknown>)[]
beforeEach(async () => {
  world = await startWorld()
  closing = []
})
afterEach(async () => {
  for (const close of closing.toReversed()) await close()
  await world[Symbol.asyncDispose]()
})

async function toolServer(
  instance = '01',
  profile: 'holdpoint' | 'machineid' = 'holdpoint',
): Promise<string> {
  const { url, close } = await startToolServer({
    authority: world.authority,
    instance,
    token: world.token,
    profile,
  })
  closing.push(close)
  return url
}

async function device(deviceId: string) {
  const { body } = await world.authority.get(PATHS.list, world.authority.keys.viewer)
  return body.devices.find((one: { deviceId: string }) => one.deviceId === deviceId)
}

/** A tool server that says what it likes: `answer` is asked for each canary call. */
async function fakeToolServer(
  answer: (call: {
    readonly holdMs: number
    readonly boundary: string
  }) => Promise<Partial<CanaryBody> | undefined>,
  profile = 'holdpoint',
): Promise<string> {
  const inspected: InspectBody = {
    replica: 'cheat/1',
    serverDeviceId: DEVICE('tool-server', '01'),
    surfaces: [{ name: 'payments', deviceIds: [DEVICE('tool-server', '01'), DEVICE('payments', '01')] }],
    profile,
    authority: { origin: null, answered: true, code: null },
    now: new Date().toISOString(),
    timeoutMs: 2000,
    latencyMs: null,
    stopStream: { state: 'up', since: null, reason: null, keyKind: null },
    inFlight: [],
    tools: [],
    journal: { kind: 'memory', journalMode: null, synchronous: null, unknownOutcomes: null },
  }
  const server = servingBodies(async (request, response, text) => {
    const said = {
      replica: 'cheat/1',
      deviceId: CANARY,
      requestId: 'r1',
      boundary: 'tool',
      endedBy: null,
      code: 'ALLOW',
    }
    const body = request.url === '/inspect' ? inspected : await answer(JSON.parse(text))
    if (body === undefined) return void request.socket.destroy()
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === '/inspect' ? body : { ...said, ...body }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(async () => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const allow = async ({ holdMs }: { readonly holdMs: number }) => {
  await sleep(holdMs)
  return { started: true, startedAgoMs: holdMs, endedBy: 'time', code: 'ALLOW' } as const
}
const isRevoked = async () => (await device(CANARY))?.revoked === true

describe('a stop that does not hold', () => {
  test('a tool server that starts one call in thirty after the ack: status 3, and the report says where (G1)', async () => {
    let denied = 0
    const url = await fakeToolServer(async (call) => {
      if (!(await isRevoked()) || ++denied % 30 === 0) return allow(call)
      return { started: false, startedAgoMs: null, code: 'DEVICE_REVOKED' }
    })
    const { status, json, err } = await world.run(FAST, [url])

    expect(status, err).toBe(3)
    expect(err).toContain('STOP_DID_NOT_HOLD')
    expect(json).toMatchObject({ held: false, broken: true })
    expect(json.drill.report.steps[1].note).toMatch(
      /DID NOT HOLD: .* sent after the ack started: payments .* on cheat\/1 \(G1\)/,
    )
    // It is signed all the same, and nothing is left stopped.
    expect(json.unsigned).toBeNull()
    expect(await device(CANARY)).toBeUndefined()
    const listed = await world.run(['drill', 'ls', '--json'], [])
    expect(listed.json.drills[0].held).toBe(false)
    expect(listed.json.drills[0].startedAfterAck).toBeGreaterThan(0)
  })

  test('is told apart from a drill that failed, also by the control plane that runs it (G1)', async () => {
    const runner = createDrillRunner({
      orgId: world.authority.orgId,
      toolServerUrls: [await fakeToolServer(allow)],
      token: { value: world.token.token },
      dataDir: world.dataDir,
    })
    const lines: string[] = []
    const end = await runner.run({
      asked: { forSeconds: 1, callsPerSecond: 60, cut: false },
      key: world.authority.keys.operator,
      controlPlaneUrl: world.authority.operatorUrl,
      onLine: (line) => lines.push(line),
      signal: new AbortController().signal,
    })
    expect(end, lines.join('\n')).toBe('not_held')
  })

  test('Ctrl-C once it has shown does not make it good: status 3 all the same (G1)', async () => {
    const url = await fakeToolServer(allow)
    const interrupt = new AbortController()
    const { status, err } = await world.run(['drill', '--for', '1', '--rate', '60', '--no-cut'], [url], {
      signal: interrupt.signal,
      onErr: (text) => {
        if (text.includes('DID NOT HOLD')) interrupt.abort()
      },
    })

    expect(status, err).toBe(3)
    expect(err).toContain('STOP_DID_NOT_HOLD')
  })

  test('a tool server that hangs up instead of saying so has shown nothing: status 1', async () => {
    const url = await fakeToolServer(async (call) => ((await isRevoked()) ? undefined : allow(call)))
    const { status, json } = await world.run(FAST, [url])

    expect(status).toBe(1)
    expect(json).toMatchObject({ held: false, broken: false })
    expect(json.drill.report.steps[1].note).toContain(
      'got no answer, so that nobody knows whether they started',
    )
  })

  test('a tool server that denies everything anyhow fails the baseline: nothing is stopped', async () => {
    const url = await fakeToolServer(async () => ({
      started: false,
      startedAgoMs: null,
      code: 'GUARD_OVERLOADED',
    }))
    const { status, json, err } = await world.run(FAST, [url])

    expect(status).toBe(1)
    expect(err).toContain('BASELINE_FAILED')
    expect(json.drill.report.steps.map(({ name }: { name: string }) => name)).toEqual(['baseline'])
    expect(await device(CANARY)).toBeUndefined()
  })
})

describe('what a drill leaves behind', () => {
  test('Ctrl-C in the middle of the stop: restored, the canary removed, status 130', async () => {
    const url = await toolServer()
    const interrupt = new AbortController()
    const running = world.run(['drill', '--for', '20', '--rate', '60'], [url], { signal: interrupt.signal })
    await until(isRevoked)
    interrupt.abort()
    const { status, err } = await running

    expect(status).toBe(130)
    expect(err).toContain('What it had stopped is restored.')
    expect(await device(CANARY)).toBeUndefined()
  })

  test('Ctrl-C while a real surface is stopped: it works again', async () => {
    const url = await toolServer()
    const interrupt = new AbortController()
    const args = ['drill', '--surface', 'payments', '--yes', '--for', '20', '--rate', '60']
    const running = world.run(args, [url], { signal: interrupt.signal })
    await until(async () => (await device(DEVICE('payments', '01'))).revoked)
    interrupt.abort()

    const { status, err } = await running
    expect(status).toBe(130)
    expect(err).toContain(
      `A second Ctrl-C would leave it stopped; by hand: holdpoint devices restore ${DEVICE('payments', '01')}`,
    )
    expect((await device(DEVICE('payments', '01'))).revoked).toBe(false)
  })

  test('stopped by somebody else meanwhile: it is left stopped, and said so with the command (G6)', async () => {
    const url = await toolServer()
    const payments = DEVICE('payments', '01')
    const args = ['drill', '--surface', 'payments', '--yes', '--for', '2', '--rate', '60']
    const running = world.run(args, [url])
    await until(async () => (await device(payments)).revoked)
    await world.authority.revoke(payments)
    const { status, err } = await running

    expect(status).toBe(1)
    expect(err).toMatch(/stopped by somebody else meanwhile .*"test"/)
    expect(err).toContain(`holdpoint devices restore ${payments}`)
    expect((await device(payments)).revoked).toBe(true)
  })

  test('the control plane dies in mid-drill and comes back: restored, and reported', async () => {
    const url = await toolServer()
    const running = world.run(['drill', '--for', '2', '--rate', '60', '--no-cut'], [url])
    await until(isRevoked)
    await world.authority.kill()
    await sleep(3000)
    await world.authority.restart()
    const { err } = await running

    expect(err).toMatch(/Restoring .* goes on/)
    expect(await device(CANARY)).toBeUndefined()
  }, 40_000)

  test('the control plane dies for good: what is left stopped is said, and the report is kept unsigned', async () => {
    const { runCommand } = await import('../../src/cli/drill/command-run.ts')
    const url = await toolServer()
    const options = { surface: undefined, org: false, cut: false, dryRun: false }
    const running = world.run(['short'], [url], {
      register: (program, cli) =>
        void program
          .command('short')
          .action(() =>
            runCommand(cli(), { ...options, callsPerSecond: 60, forMs: 1000, restoreForMs: 1000 }),
          ),
    })
    await until(isRevoked)
    await world.authority.kill()
    const { status, out, err } = await running

    expect(status).toBe(1)
    expect(err).toMatch(new RegExp(`${CANARY} is LEFT STOPPED: .*holdpoint devices restore ${CANARY}`))
    const file = /Report: (\S+report-unsigned\.json)/.exec(out)?.[1] ?? ''
    expect(JSON.parse(await readFile(file, 'utf8')).report.held).toBe(false)
  }, 40_000)
})

describe('the canary', () => {
  test('no free slot: two ways out, and nothing is changed', async () => {
    await world[Symbol.asyncDispose]()
    world = await startWorld({ plan: 'free' })
    await world.authority.register('openai-agent:test:other:01')
    const url = await toolServer()
    const { status, err } = await world.run(FAST, [url])

    expect(status).toBe(1)
    expect(err).toContain('NO_SLOT_FOR_CANARY')
    expect(err).toContain('holdpoint drill --surface NAME')
    expect(err).toContain('holdpoint org plan pro')
  })

  test('two drills at once: the second is refused, and the first goes on undisturbed', async () => {
    const url = await toolServer()
    const first = world.run(['drill', '--for', '2', '--rate', '60', '--no-cut'], [url])
    await until(async () => (await device(CANARY)) !== undefined)
    const second = await world.run(FAST, [url])

    expect(second.status).toBe(1)
    expect(second.err).toContain('DRILL_RUNNING')
    const { status, err } = await first
    expect(status, err).toBe(0)
  })

  test('one that somebody has stopped and removed is not restored behind their back (G6)', async () => {
    const url = await toolServer()
    await world.authority.register(CANARY)
    await world.authority.revoke(CANARY)
    await world.authority.post(PATHS.remove, { deviceId: CANARY }, world.authority.keys.operator)
    const { status, err } = await world.run(FAST, [url])

    expect(status).toBe(1)
    expect(err).toContain('CANARY_STOPPED')
    expect((await device(CANARY)).revoked).toBe(true)
  })

  test('profile machineid: everything but pushed stops is done, and that is said', async () => {
    const url = await toolServer('01', 'machineid')
    const { status, json, err } = await world.run(['drill', '--for', '1', '--rate', '60', '--json'], [url])

    expect(status, err).toBe(0)
    expect(json.notDone[0]).toMatch(/^pushed stops on .*: its stop stream is off/)
    expect(json.drill.report.steps.every(({ held }: { held: boolean }) => held)).toBe(true)
  })
})

describe('hosted MachineID', () => {
  test('stop and restore are drilled; what it does not have is named, and nothing is signed', async () => {
    const registered = new Set<string>()
    const revoked = new Set<string>()
    const hosted = servingBodies(async (request, response, text) => {
      const { deviceId = '' } = text === '' ? {} : (JSON.parse(text) as { deviceId?: string })
      const known: Record<string, () => unknown> = {
        [PATHS.register]: () => registered.add(deviceId),
        [PATHS.revoke]: () => revoked.add(deviceId),
        [PATHS.unrevoke]: () => revoked.delete(deviceId),
        [PATHS.remove]: () => registered.delete(deviceId),
      }
      const call = known[request.url ?? '']
      response.statusCode = call === undefined ? 404 : 200
      call?.()
      response.end(call === undefined ? '<html>Not found</html>' : JSON.stringify({ status: 'ok', deviceId }))
    }).listen(0, '127.0.0.1')
    await once(hosted, 'listening')
    closing.push(async () => hosted.close())
    const CONSOLE_URL = `http://127.0.0.1:${(hosted.address() as AddressInfo).port}`
    const url = await fakeToolServer(async (call) => {
      if (!revoked.has(CANARY)) return allow(call)
      return { started: false, startedAgoMs: null, code: 'DEVICE_REVOKED' }
    }, 'machineid')
    const args = ['drill', '--for', '1', '--rate', '60', '--json']
    const { status, json, err } = await world.run(args, [url], { env: { CONSOLE_URL } })

    expect(status, err).toBe(0)
    expect(json.held).toBe(true)
    expect(json.file).toMatch(/report-unsigned\.json$/)
    expect(json.notDone.map((text: string) => text.split(':')[0])).toEqual([
      'cut',
      'signature',
      'compare-and-set restore',
    ])
    expect([...registered, ...revoked]).toEqual([])
  })
})

function servingBodies(
  answer: (request: IncomingMessage, response: ServerResponse, text: string) => Promise<unknown>,
): Server {
  return createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => void answer(request, response, Buffer.concat(chunks).toString()))
  })
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await sleep(20)
}
