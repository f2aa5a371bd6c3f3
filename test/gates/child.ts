// A worker as a user writes one, for process.test.ts. MODE says which; what it does to the world is lines in LEDGER.
import { appendFileSync } from 'node:fs'
import { env } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  defineEffect,
  guardedJob,
  guardedLoop,
  startupGate,
  type Guard,
  type ProcessLife,
} from 'holdpoint/gates'
import { revoke } from './operator.ts'

const say = (text: string) => process.stdout.write(`${text}\n`)

const charge = defineEffect({
  kind: 'payment',
  name: 'charge',
  key: (unit: number) => `unit-${unit}`,
  run: (unit) => appendFileSync(env['LEDGER'] ?? '', `${unit}\n`),
})

const concurrency = Number(env['CONCURRENCY'] ?? 1)
const revokeAt = Number(env['REVOKE_AT'])

const MODES: Record<string, (guard: Guard, life: ProcessLife) => Promise<unknown>> = {
  /** Units 1 to 6. The unit REVOKE_AT is revoked in its body; the one before it ends long after. */
  loop: async (guard) => {
    const revoked = Promise.withResolvers<void>()
    const loop = guardedLoop(guard.surface('payments'), {
      name: 'bill',
      effects: { charge },
      units: [1, 2, 3, 4, 5, 6],
      concurrency,
      giveBack: (unit) => void say(`given back ${unit}`),
      work: async (unit, { effects }) => {
        say(`started ${unit}`)
        if (concurrency > 1 && unit === revokeAt - 1) {
          await effects.charge(unit)
          await revoked.promise
          await sleep(300)
          return void say(`settled ${unit}`)
        }
        if (unit === revokeAt) {
          await revoke(guard)
          revoked.resolve()
        }
        await effects.charge(unit)
        say(`settled ${unit}`)
      },
    })
    const end = await loop.run()
    say(`behind the loop: ${end.ended} ${end.done}`)
  },
  /** One unit that works until it is signalled, and then still pays. */
  long: async (guard) => {
    const loop = guardedLoop(guard.surface('payments'), {
      name: 'bill',
      effects: { charge },
      units: [1, 2],
      work: async (unit, { signal, effects }) => {
        await effects.charge(unit)
        say(`working ${unit}`)
        await sleep(60_000, undefined, { signal }).catch(() => undefined)
        say(`settled ${unit}`)
      },
    })
    const end = await loop.run()
    say(`behind the loop: ${end.ended} ${end.done}`)
  },
  /** The first one is revoked while it runs, and ends long after the second one was denied. */
  job: async (guard) => {
    const began = Promise.withResolvers<void>()
    const revoked = Promise.withResolvers<void>()
    const run = async () => {
      say('job began')
      began.resolve()
      await revoked.promise
      await sleep(300)
      say('job ended')
    }
    const job = guardedJob(guard.surface('payments'), { name: 'nightly', effects: 'none', run })
    const first = job()
    await began.promise
    await revoke(guard)
    revoked.resolve()
    await job()
    await first
    say('behind the job')
  },
  until: async (_, life) => {
    say('set up')
    await life.untilShutdown()
    process.exitCode = 7
  },
  forever: () => {
    say('set up')
    return sleep(60_000)
  },
  throws: async (_, life) => {
    say('set up')
    await life.untilShutdown()
    throw new Error('no clean end')
  },
  ends: async () => 'the result',
}

const result = await startupGate((guard, life) => (say('main'), MODES[env['MODE'] ?? '']?.(guard, life)), {
  surfaces: ['payments'],
  onDenied: env['ON_DENIED'] as 'exit',
  retryMs: 20,
  graceMs: Number(env['GRACE_MS'] ?? 10_000),
})
say(`behind the gate: ${String(result)}, ${process.listenerCount('SIGTERM')} listeners`)
