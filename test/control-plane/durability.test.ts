import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

interface Told {
  readonly url: string
  readonly operatorUrl: string
  readonly orgId: string
  readonly keys: { readonly full: string }
  readonly error?: { readonly code: string; readonly message: string }
  readonly fatal?: { readonly code: string; readonly message: string }
}

const PROGRAM = join(import.meta.dirname, 'child.ts')
const FLAGS = ['--conditions=holdpoint-source']

let dir: string
const children: ChildProcess[] = []
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-durability-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, 'SIGKILL')
  await rm(dir, { recursive: true })
})

async function start(): Promise<{ child: ChildProcess; told: Told }> {
  const child = fork(PROGRAM, [dir], { execArgv: FLAGS })
  children.push(child)
  const [told] = (await once(child, 'message')) as [Told]
  return { child, told }
}
async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}
/** The status and body, or undefined when no answer came. */
async function post(url: string, key: string, path: string, body: object) {
  try {
    const response = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'x-org-key': key, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  } catch {
    return undefined
  }
}

describe('kill -9 under load', { timeout: 60_000 }, () => {
  test('G5: no acked stop, restore or register is lost, and no epoch goes back', async () => {
    /** What the operator was told last of each device; more may have happened, but never less. */
    const acked = new Map<string, { epoch: number; revoked: boolean }>()
    let full = ''
    let highest = 0
    const nothingIsLost = async (send: (path: string, body: object) => ReturnType<typeof post>) => {
      for (const [deviceId, last] of acked) {
        const answer = await send(PATHS.validate, { deviceId })
        expect(answer?.status).toBe(200)
        const { epoch, allowed, orgEpoch } = answer?.body ?? {}
        // A change that was on its way when the process died may have happened: then the epoch is higher.
        expect(epoch).toBeGreaterThanOrEqual(last.epoch)
        if (epoch === last.epoch) expect(allowed).toBe(!last.revoked)
        expect(orgEpoch).toBeGreaterThanOrEqual(highest)
        acked.set(deviceId, { epoch: Number(epoch), revoked: allowed === false })
      }
    }

    const rounds = 6
    for (let round = 0; round <= rounds; round++) {
      const { child, told } = await start()
      full ||= told.keys.full
      const send = (path: string, body: object) => post(told.url, full, path, body)
      await nothingIsLost(send)
      if (round === rounds) break

      // The kill comes in the middle of the work, once enough of it was acked.
      let acks = 0
      let running = true
      const work = Array.from({ length: 8 }, async (_, worker) => {
        for (let turn = 0; running; turn++) {
          const deviceId = `a:test:worker:${worker}-${round}-${turn % 3}`
          const revoked = turn % 4 !== 3
          const path = turn < 3 ? PATHS.register : revoked ? PATHS.revoke : PATHS.unrevoke
          // Handed on by the agent lane, or asked of the operator lane: an ack is an ack.
          const lane = turn % 2 === 0 ? told.url : told.operatorUrl
          const answer = await post(lane, full, path, { deviceId })
          if (answer?.status !== 200) continue
          const epoch = Number(answer.body['epoch'])
          acked.set(deviceId, { epoch, revoked: turn >= 3 && revoked })
          highest = Math.max(highest, epoch)
          acks++
          if (acks === 60 + 10 * round) child.kill('SIGKILL')
        }
      })
      await once(child, 'exit')
      running = false
      await Promise.all(work)
    }
    expect(acked.size).toBeGreaterThan(100)
  })

  test('the lock is free again after a kill, and after SIGTERM', async () => {
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const { child, told } = await start()
      expect(told.error).toBeUndefined()
      await ended(child, signal)
    }
    await openControlPlaneStore({ file: join(dir, 'control-plane.db') }).close()
  })
})

describe('one file, one control plane', { timeout: 60_000 }, () => {
  test('a second process is refused with one clear message, and the first goes on', async () => {
    const { told } = await start()
    const { told: second } = await start()
    expect(second.error).toMatchObject({ code: 'STORE_IN_USE' })
    expect(second.error?.message).toMatch(
      /control-plane\.db is in use by another control plane\. Stop that one, or set DATA_DIR/,
    )
    expect((await post(told.url, told.keys.full, PATHS.orgDisable, {}))?.status).toBe(200)
  })

  test('so is a second one in the same process', async () => {
    await using authority = await startTestControlPlane()
    expect(() => openControlPlaneStore({ file: authority.file })).toThrow(/in use by another control plane/)
    expect((await authority.get('/readyz')).status).toBe(200)
  })
})

describe('a disk that fails', { timeout: 60_000 }, () => {
  // RLIMIT_FSIZE makes the kernel refuse writes past a size: a real error from a real write, in the middle of work.
  test('G5: nothing is acked from then on, it is not ready, and the program is told to end', async () => {
    const command = `ulimit -f 600; exec "$0" "$@"`
    const child = spawn('bash', ['-c', command, process.execPath, ...FLAGS, PROGRAM, dir], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    children.push(child)
    const [told] = (await once(child, 'message')) as [Told]
    const fatal = once(child, 'message') as Promise<[Told]>
    const send = (path: string, body: object) => post(told.url, told.keys.full, path, body)

    let ackedEpoch = 0
    let refused: Awaited<ReturnType<typeof send>>
    await send(PATHS.register, { deviceId: 'a:test:x:1' })
    for (let turn = 0; turn < 2000 && refused === undefined; turn++) {
      const answer = await send(PATHS.revoke, { deviceId: 'a:test:x:1', reason: 'x'.repeat(500) })
      if (answer?.status === 200) ackedEpoch = Number(answer.body['epoch'])
      else refused = answer
    }
    expect(ackedEpoch).toBeGreaterThan(3)
    expect(refused).toMatchObject({ status: 503, body: { code: 'STORE_UNAVAILABLE' } })
    expect(String(refused?.body['message'])).not.toContain(dir)
    expect((await fatal)[0].fatal).toMatchObject({ code: expect.stringMatching(/^STORE_(?:IO|FULL)$/) })
    expect((await fetch(`${told.url}/readyz`)).status).toBe(503)
    expect((await fetch(`${told.url}/healthz`)).status).toBe(200)
    for (const path of [PATHS.revoke, PATHS.validate, PATHS.register]) {
      expect((await send(path, { deviceId: 'a:test:x:1' }))?.status).toBe(503)
    }
    await ended(child, 'SIGKILL')

    const { told: again } = await start()
    const { body } = (await post(again.url, told.keys.full, PATHS.validate, { deviceId: 'a:test:x:1' })) ?? {}
    expect(body).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED' })
    expect(body?.['epoch']).toBeGreaterThanOrEqual(ackedEpoch)
  })
})
