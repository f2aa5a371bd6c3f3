import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { CrashPoint } from '../../src/guard/crash-points.ts'
import {
  CRASHES,
  DATABASE,
  type ChildSettings,
  type Crash,
  type FromChild,
  type ToChild,
} from './crash-wire.ts'

const PROGRAM = join(import.meta.dirname, 'child-runs.ts')
const POLL_MS = 10
const QUIET_MS = 300

/** Answered by nobody any more. */
export class ServerDied extends Error {
  override readonly name = 'ServerDied'
}

export interface Answer {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- bodies of every shape
  readonly body: any
}

type Reached = Partial<Record<CrashPoint, number>>

/** One tool server after the other on the same file. */
export interface CrashServer extends AsyncDisposable {
  readonly file: string
  readonly databaseUrl: string | undefined
  /** Starts the next process, its store's clock that much further on. */
  readonly start: (moveClockMs: number) => Promise<void>
  readonly arm: (crash: Crash | undefined) => Promise<void>
  /** How often each point was reached since it was armed. */
  readonly reached: () => Promise<Reached>
  /** The points at which processes of this file have crashed. */
  readonly crashes: () => readonly string[]
  /** Resolves when it has crashed once more than `before`, or `signal` aborts. Its callers are told at once. */
  readonly crashed: (before: number, signal: AbortSignal) => Promise<void>
  /** True when the process that answers now has ended. */
  readonly hasEnded: () => boolean
  /** Lets the one that stood still go on while the next one runs, and ends it when it does nothing any more. */
  readonly wakeStopped: () => Promise<void>
  /** Rejects with `ServerDied` when there is no whole answer. */
  readonly call: (token: string, method: 'GET' | 'POST', path: string, body?: object) => Promise<Answer>
}

export function createCrashServer(settings: Omit<ChildSettings, 'clockAheadMs'>): CrashServer {
  let clockAheadMs = 0
  let child: ChildProcess | undefined
  let url = ''
  let calls = new AbortController()
  let armed: Crash | undefined
  let stopped: ChildProcess | undefined

  const crashes = () => {
    const file = join(settings.dir, CRASHES)
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  }

  return {
    file: join(settings.dir, DATABASE),
    databaseUrl: settings.databaseUrl,
    start: async (moveClockMs) => {
      clockAheadMs += moveClockMs
      calls = new AbortController()
      const all: ChildSettings = { ...settings, clockAheadMs }
      child = fork(PROGRAM, [JSON.stringify(all)], {
        execArgv: ['--conditions=holdpoint-source'],
        env: {
          PATH: process.env['PATH'],
          OPENAI_AGENTS_DISABLE_TRACING: '1',
          NODE_COMPILE_CACHE: join(settings.dir, '../compiled'),
        },
      })
      url = (await told(child, 'ready')).url
    },
    arm: async (crash) => {
      armed = crash
      await ask(child, { type: 'arm', crash }, 'armed')
    },
    reached: async () => (await ask(child, { type: 'count' }, 'counted')).reached,
    crashes,
    crashed: async (before, signal) => {
      while (crashes().length <= before && !signal.aborted) await sleep(POLL_MS)
      if (crashes().length <= before) return
      calls.abort()
      if (armed?.signal === 'SIGSTOP') stopped = child
      else if (child !== undefined && !isOver(child)) await once(child, 'exit')
    },
    hasEnded: () => child === undefined || isOver(child),
    wakeStopped: async () => {
      if (stopped === undefined) return
      stopped.kill('SIGCONT')
      let last = ''
      for (;;) {
        const { reached, inFlight } = await ask(stopped, { type: 'count' }, 'counted')
        const now = JSON.stringify(reached)
        if (now === last && inFlight === 0) break
        last = now
        await sleep(QUIET_MS)
      }
      await end(stopped)
      stopped = undefined
    },
    call: async (token, method, path, body) => {
      try {
        const response = await fetch(url + path, {
          method,
          signal: calls.signal,
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        })
        return { status: response.status, body: await response.json() }
      } catch (cause) {
        throw new ServerDied(`${method} ${path} got no answer.`, { cause })
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const one of [stopped, child]) if (one !== undefined) await end(one)
    },
  }
}

function told<T extends FromChild['type']>(from: ChildProcess, type: T) {
  return new Promise<Extract<FromChild, { type: T }>>((resolve, reject) => {
    const onExit = () => reject(new ServerDied(`It ended before it said "${type}".`))
    const onMessage = (message: FromChild) => {
      if (message.type !== type) return
      from.off('message', onMessage)
      from.off('exit', onExit)
      resolve(message as Extract<FromChild, { type: T }>)
    }
    from.on('message', onMessage)
    from.once('exit', onExit)
  })
}

async function ask<T extends FromChild['type']>(of: ChildProcess | undefined, message: ToChild, answer: T) {
  if (of === undefined || isOver(of)) throw new ServerDied('It has ended.')
  const answered = told(of, answer)
  of.send(message, () => undefined)
  return answered
}

function isOver({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

async function end(child: ChildProcess): Promise<void> {
  if (isOver(child)) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
