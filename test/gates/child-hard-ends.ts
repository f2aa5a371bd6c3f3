// Workers that end in hard ways, for hard-process.test.ts. MODE says which.
import { appendFileSync } from 'node:fs'
import { env } from 'node:process'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

import { createGuard, createLogger, type Logger } from 'holdpoint'
import { MachineID } from 'holdpoint/client'
import { defineEffect, guardedJob, guardedLoop, startupGate, type Guard } from 'holdpoint/gates'
import { revoke } from './operator.ts'

const say = (text: string) => appendFileSync(env['LEDGER'] ?? '', `${text}\n`)

const denied = (guard: Guard, more: { units?: number[]; work?: (unit: number) => unknown } = {}) =>
  guardedLoop(guard.surface('payments'), {
    name: 'bill',
    effects: 'none',
    units: [1, 2],
    work: () => revoke(guard),
    ...more,
  })

const slow = defineEffect({
  kind: 'write',
  name: 'slow',
  key: 'each-call',
  run: async () => {
    await sleep(300)
    say('effect happened')
  },
})

const MODES: Record<string, (guard: Guard) => Promise<unknown>> = {
  exit: (guard) => denied(guard).run(),
  /** Another loop on the same guard has an effect on its way, and a broker to tell. */
  two: async (guard) => {
    const began = Promise.withResolvers<void>()
    const other = guardedLoop(guard, {
      name: 'other',
      effects: { slow },
      units: [1, 2],
      concurrency: 2,
      giveBack: async (unit) => {
        await sleep(300)
        say(`given back ${unit}`)
      },
      work: async (unit, { effects, signal }) => {
        if (unit === 1) {
          began.resolve()
          return void (await effects.slow({}))
        }
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        signal.throwIfAborted()
      },
    }).run()
    await began.promise
    await Promise.all([denied(guard).run(), other])
  },
  /** Nobody awaits the loop. */
  forgot: async (guard) => void denied(guard).run(),
  /** A broker that does not answer. */
  broker: async (guard) => {
    await guardedLoop(guard.surface('payments'), {
      name: 'bill',
      effects: 'none',
      units: [1, 2],
      giveBack: () => new Promise<never>(() => {}),
      work: async (_, { enter }) => {
        await revoke(guard)
        await sleep(300)
        await enter('part', () => {})
      },
    }).run()
  },
  /** One is denied where the one beside it is not, which then fails. */
  fails: async (guard) => {
    const revoked = Promise.withResolvers<void>()
    const loop = guardedLoop(guard, {
      name: 'bill',
      effects: 'none',
      units: [1, 2],
      concurrency: 2,
      work: async (unit, { enter }) => {
        if (unit === 1) {
          await revoked.promise
          await sleep(300)
          throw new RangeError('too late')
        }
        await revoke(guard)
        revoked.resolve()
        await enter('part', () => {}, guard.surface('payments'))
      },
    })
    await loop.run().catch((error: unknown) => say(`behind the loop: ${String(error)}`))
  },
  /** What the guard's maker does last fails. */
  close: async (guard) => {
    const { journal, log, serverDeviceId } = guard
    const onClose = () => Promise.reject(new Error('the disk is full'))
    const authority = MachineID.fromEnv(env)
    const own = createGuard({ authority, journal, log, serverDeviceId, surfaces: ['payments'], onClose })
    await own.start()
    await denied(own)
      .run()
      .catch((error: unknown) => say(`behind the loop: ${String(error)}`))
  },
  /** A job that calls itself, and is denied the second time. */
  nested: async (guard) => {
    const place = guard.surfaceBy(['tool-server', 'payments'], (depth) =>
      depth === 1 ? 'tool-server' : 'payments',
    )
    const job = guardedJob(place, {
      name: 'walk',
      effects: 'none',
      run: async ({ signal }, depth: number) => {
        if (depth === 2) return say('must not start')
        await revoke(guard)
        const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
        await Promise.race([job(depth + 1), aborted])
      },
    })
    await job(1)
  },
}

const LOGS: Record<string, () => Logger> = {
  slow: () =>
    createLogger({
      destination: new Writable({
        decodeStrings: false,
        write: (line: string, _, written) => {
          setTimeout(() => (appendFileSync(env['LOG_FILE'] ?? '', line), written()), 50)
        },
      }),
    }),
  never: () => createLogger({ destination: Object.assign({ write: () => {} }, { flush: () => {} }) }),
  none: () => Object.assign(createLogger({ destination: { write: () => {} } }), { flush: undefined }),
}
const log = LOGS[env['LOG'] ?? '']?.()
// What every worker has: a server, a connection, a timer.
const alive = setInterval(() => {}, 60_000)

await startupGate((guard) => MODES[env['MODE'] ?? '']?.(guard), {
  surfaces: ['payments'],
  ...(log === undefined ? {} : { log }),
})
say('behind the gate')
if (env['MODE'] === 'forgot') clearInterval(alive)
