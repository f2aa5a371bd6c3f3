// Workers that nothing else keeps alive, no server and no timer of their own, for ends.test.ts. MODE says which.
import { env } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import { createAlerts, guardedLoop, startupGate, type Guard, type ProcessLife } from 'holdpoint/gates'
import { revoke } from './operator.ts'

const say = (text: string) => process.stdout.write(`${text}\n`)
const graceMs = Number(env['GRACE_MS'] ?? 10_000)

const sink = () =>
  createAlerts({ url: env['SINK'] ?? '', secret: `whsec_${Buffer.alloc(32, 9).toString('base64')}` })

const denied = (guard: Guard) =>
  guardedLoop(guard.surface('payments'), {
    name: 'bill',
    effects: 'none',
    units: [1, 2],
    work: () => revoke(guard),
  }).run()

const denyHere = (guard: Guard) =>
  guard.denyNow({ surface: guard.surface('payments'), boundary: 'task' }, 'JOURNAL_UNAVAILABLE')

const MODES: Record<string, (guard: Guard, life: ProcessLife) => unknown> = {
  denied: (guard) => {
    sink().watch(guard)
    return denied(guard)
  },
  signalled: async (guard, life) => {
    sink().watch(guard)
    denyHere(guard)
    say('set up')
    await life.untilShutdown()
  },
  counts: (guard) => {
    denyHere(guard)
    denyHere(guard)
  },
  /** Another loop on the same guard works on, and heeds no signal. */
  deaf: async (guard) => {
    const began = Promise.withResolvers<void>()
    const work = () => {
      began.resolve()
      return sleep(60_000)
    }
    const other = guardedLoop(guard, { name: 'other', effects: 'none', units: [1], work }).run()
    await began.promise
    await Promise.all([denied(guard), other])
  },
  /** Work that takes most of the grace, and a main that ends later still. */
  late: async (guard, { signal }) => {
    const work = async () => {
      // A promise alone keeps no process: until its stop stream is open nothing else does.
      const alive = setInterval(() => {}, 1000)
      say('set up')
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      clearInterval(alive)
      await sleep(graceMs * 0.8)
    }
    await guardedLoop(guard, { name: 'bill', effects: 'none', units: [1], work }).run()
    await sleep(60_000)
  },
}

const alerts = env['GIVEN'] === undefined ? undefined : sink()
await startupGate((guard, life) => (say('main'), MODES[env['MODE'] ?? '']?.(guard, life)), {
  surfaces: ['payments'],
  onDenied: env['ON_DENIED'] as 'exit',
  graceMs,
  alerts,
})
say('behind the gate')
