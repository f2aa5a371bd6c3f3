// G1 over real sockets: a real control plane, the real client, a journal on disk.
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'

import { guardedLoop } from '../../src/gates/loop.ts'
import { createGuard } from '../../src/guard/guard.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { logLines } from '../fixtures/log-lines.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'
import { bank, later, upTo } from './bank.ts'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestControlPlane()
})
afterAll(() => authority.close())

const file = temporaryFiles('loops')
let count = 0
async function world() {
  const serverDeviceId = `worker:test${(count += 1)}:tool-server:01`
  const client = new MachineID({ orgKey: authority.keys.runtime, baseUrl: authority.url })
  const journal = createSqliteJournal({ file: file() })
  const { log, lines } = logLines()
  const onClose = async () => {
    await journal.close()
    await client.close()
  }
  const surfaces = ['payments', 'email']
  const guard = createGuard({ authority: client, serverDeviceId, surfaces, journal, log, onClose })
  onTestFinished(async () => void (await guard.close({ graceMs: 0 })))
  expect(await guard.start()).toMatchObject({ code: 'ALLOW' })
  const payments = guard.surface('payments')
  return { payments, device: payments.deviceIds.at(-1) as string, lines, ...bank() }
}

const UNITS = upTo(12)

test.each([
  ['an iterable', 1, () => UNITS.values()],
  ['an iterable', 4, () => UNITS.values()],
  ['an async iterable', 1, () => later(UNITS)],
  ['an async iterable', 4, () => later(UNITS)],
] as const)(
  'G1: %s, %i at a time: revoked in mid-work nothing more starts; restored, nothing is lost or done twice',
  async (_, concurrency, source) => {
    const { payments, device, lines, charges, effects } = await world()
    const started: number[] = []
    const afterAck: number[] = []
    let isStopped = false
    let wasStopped = false
    const loop = guardedLoop(payments, {
      name: 'bill',
      effects,
      units: source(),
      concurrency,
      onDenied: 'wait',
      retryMs: 20,
      work: async (unit, { effects: { charge } }) => {
        ;(isStopped ? afterAck : started).push(unit)
        if (unit === 5 && !wasStopped) {
          wasStopped = true
          await authority.revoke(device)
          isStopped = true
        }
        await charge(unit)
      },
    })
    const running = loop.run()
    const denials = () => lines().filter(({ allowed }) => allowed === false).length
    await vi.waitFor(() => expect(lines().map(({ msg }) => msg)).toContain('denied, waiting'), {
      timeout: 5000,
    })
    const before = denials()
    // It was asked again, more than once, and nothing has begun.
    await vi.waitFor(() => expect(denials()).toBeGreaterThan(before + 2), { timeout: 5000 })
    expect(afterAck).toEqual([])
    expect(lines().filter(({ msg }) => msg === 'denied, waiting')).toHaveLength(1)
    expect(charges).not.toContain(5)
    const startedBefore = started.length

    isStopped = false
    await authority.restore(device)
    expect(await running).toEqual({ ended: 'finished', done: 12, kept: [] })
    expect(charges.toSorted((one, other) => one - other)).toEqual(UNITS)
    const again = started.slice(startedBefore)
    // In order, those that were denied in hand first.
    expect(again).toEqual(again.toSorted((one, other) => one - other))
    expect(again[0]).toBeLessThanOrEqual(5)
    if (concurrency === 1) expect(started).toEqual([1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12])
  },
)
