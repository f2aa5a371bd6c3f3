import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as after } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'

import { ListResponse } from '../../src/machineid/wire-devices.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { randomFrom, seedFrom } from '../fixtures/random.ts'
import { capture, openConnection } from './late-requests.ts'
import { plantDevices } from './plant.ts'

const PROGRAM = join(import.meta.dirname, 'child.ts')
const DEVICES = 1000
const id = (n: number) => `agent:test:batch:${n}`
const IDS = Array.from({ length: DEVICES }, (_, n) => id(n))

let dir: string
let child: ChildProcess | undefined
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-batches-'))
})
afterEach(async () => {
  await kill()
  await rm(dir, { recursive: true })
})

interface Told {
  readonly url: string
  readonly operatorUrl: string
  readonly orgId: string
  readonly keys?: { readonly full: string }
}

async function start(): Promise<Told> {
  child = fork(PROGRAM, [dir], { execArgv: ['--conditions=holdpoint-source'] })
  const [told] = (await once(child, 'message')) as [Told]
  return told
}

async function kill(): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** Waits until something more is written to the file, which is in the middle of a batch, or until `answered`. */
function nextWrite(): (answered: Promise<unknown>) => Promise<void> {
  const lastWrite = () => statSync(join(dir, 'control-plane.db-wal'), { bigint: true }).mtimeNs
  const before = lastWrite()
  return async (answered) => {
    let isAnswered = false
    void answered.then(() => (isAnswered = true))
    while (lastWrite() === before && !isAnswered) await nextTurn()
  }
}

interface Round {
  readonly reason: string
  readonly isRevoke: boolean
  readonly acked: boolean
}

test(
  'G5: a batch of 1,000 that kill -9 meets stops all of them or none, and all when it was acked',
  { timeout: 120_000 },
  async () => {
    const seed = seedFrom('KILL_SEED')
    console.log(`batches: KILL_SEED=${seed}`)
    const random = randomFrom(seed)
    const { orgId, keys: { full = '' } = {} } = await start()
    await kill()
    await plantDevices(join(dir, 'control-plane.db'), orgId, IDS)

    const outcomes = { all: 0, none: 0, acked: 0 }
    let last: Round | undefined
    let usualMs = 0
    let epoch = 0
    for (let round = 0; round <= 8; round++) {
      const { operatorUrl } = await start()
      const connection = await openConnection(operatorUrl)
      if (last !== undefined) {
        const get = await capture({ method: 'GET', path: PATHS.list, key: full })
        const happened = assertAllOrNone((await connection.deliver(get)).body, last, epoch)
        epoch += happened ? 1 : 0
        outcomes[happened ? 'all' : 'none']++
        if (last.acked) outcomes.acked++
      }
      const isRevoke = round % 2 === 0
      const reason = `round ${round}`
      const bytes = await capture({
        method: 'POST',
        path: isRevoke ? PATHS.revokeBatch : PATHS.unrevokeBatch,
        key: full,
        body: isRevoke
          ? { deviceIds: IDS, reason }
          : { items: IDS.map((deviceId) => ({ deviceId })), reason },
      })
      const sentMs = performance.now()
      const written = nextWrite()
      const acked = connection.deliver(bytes).then(
        ({ statusCode }) => statusCode === 200,
        () => false,
      )
      if (round < 2) {
        // These tell how long it takes.
        expect(await acked).toBe(true)
        usualMs = performance.now() - sentMs
      } else if (random.chance(0.3)) await after(random.int(Math.ceil(usualMs * 1.2)))
      else await written(acked).then(() => after(random.int(3)))
      await kill()
      last = { reason, isRevoke, acked: await acked }
      connection.close()
    }
    console.log(`batches: ${JSON.stringify(outcomes)}`)
    expect(outcomes.all).toBeGreaterThanOrEqual(2)
  },
)

/** Whether the batch that was killed happened; it did so as a whole or not at all. */
function assertAllOrNone(body: unknown, { reason, isRevoke, acked }: Round, epochBefore: number): boolean {
  const { devices, orgEpoch } = ListResponse.parse(body)
  const changed = devices.filter((device) => device.reason === reason)
  expect(devices).toHaveLength(DEVICES)
  expect([0, DEVICES]).toContain(changed.length)
  const happened = changed.length === DEVICES
  if (acked) expect(happened).toBe(true)
  expect(orgEpoch).toBe(happened ? epochBefore + 1 : epochBefore)
  expect(new Set(devices.map((device) => device.epoch))).toEqual(new Set([orgEpoch]))
  expect(new Set(devices.map((device) => device.revoked)).size).toBe(1)
  if (happened) expect(devices[0]?.revoked).toBe(isRevoke)
  return happened
}
