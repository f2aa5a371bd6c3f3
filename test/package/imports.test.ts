import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

import { PROJECT } from '../docs/markdown.ts'
import { createUserProject } from '../docs/user-project.ts'

const ENTRIES = [
  'holdpoint',
  'holdpoint/client',
  'holdpoint/gates',
  'holdpoint/tool-server',
  'holdpoint/control-plane',
] as const

const { dependencies, peerDependencies } = JSON.parse(
  readFileSync(join(PROJECT, 'package.json'), 'utf8'),
) as Record<'dependencies' | 'peerDependencies', Record<string, string>>
const OURS = new Set(Object.keys({ ...dependencies, ...peerDependencies }))

test('nothing happens on import of any entry', { timeout: 60_000 }, () => {
  const { changed, ofOurs, files } = importIn<Watched>(WATCHING, ENTRIES)
  // Handles, listeners, and each property of what the language and Node lend to everybody.
  expect(changed).toEqual(Object.fromEntries(ENTRIES.map((name) => [name, []])))
  // What our own files have read of the environment, and the timers that they have set.
  expect(ofOurs).toEqual([])
  expect(files).toEqual(['node_modules', 'package.json', 'program.js'])
})

test('the watch over imports sees what it is for', { timeout: 60_000 }, () => {
  const guilty = `
    void process.env.GUILTY
    setTimeout(() => {}, 1).unref()
    setTimeout(() => {}, 1)
    process.on('SIGUSR2', () => {})
    Array.prototype.guilty = 1
    globalThis.fetch = fetch.bind(globalThis)`
  const { changed, ofOurs } = importIn<Watched>(WATCHING, ['./guilty.js'], guilty)
  expect(ofOurs).toEqual(['process.env.GUILTY', 'setTimeout'])
  expect(changed).toEqual({ './guilty.js': ['handles', 'listeners', 'globalThis', 'Array.prototype'] })
})

describe('of what the package depends on, an import loads only what it is about', { timeout: 60_000 }, () => {
  test('holdpoint', () => {
    expect(loadedBy('holdpoint')).toMatchInlineSnapshot(`
      [
        "@openai/agents",
        "eventsource-parser",
        "openai",
        "pino",
        "undici",
        "zod",
      ]
    `)
  })
  test('holdpoint/client', () => {
    expect(loadedBy('holdpoint/client')).toMatchInlineSnapshot(`
      [
        "eventsource-parser",
        "undici",
        "zod",
      ]
    `)
  })
  test('holdpoint/gates', () => {
    expect(loadedBy('holdpoint/gates')).toMatchInlineSnapshot(`
      [
        "eventsource-parser",
        "pino",
        "undici",
        "zod",
      ]
    `)
  })
})

/** Those of package.json: what they load in turn is theirs to choose. */
function loadedBy(name: string): readonly string[] {
  const { loaded } = importIn<{ loaded: readonly string[] }>(LOADING, [name])
  return loaded.filter((one) => OURS.has(one)).sort()
}

const LOADING = `
  import { registerHooks } from 'node:module'
  const loaded = new Set()
  const load = (url, context, next) => {
    loaded.add(/.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)?.[1])
    return next(url, context)
  }
  registerHooks({ load })
  await import(process.argv[2])
  process.stdout.write(JSON.stringify({ loaded: [...loaded].filter(Boolean) }))`

const WATCHING = `
  import * as fs from 'node:fs'
  import * as http from 'node:http'
  import * as https from 'node:https'
  import * as net from 'node:net'
  import * as timers from 'node:timers'
  // Node opens these when they are first looked at, which the SDK does.
  void [process.stdin, process.stdout, process.stderr]
  const shared = { globalThis, process, http, https, net, fs, timers, Math, JSON, Reflect, console }
  for (const type of [Object, Function, Array, Map, Set, Promise, String, Number, RegExp, Date, Error, Symbol, Buffer, EventTarget]) {
    shared[type.name] = type
    shared[type.name + '.prototype'] = type.prototype
  }
  const numbers = new Map()
  const numberOf = (value) => {
    if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return String(value)
    if (!numbers.has(value)) numbers.set(value, '#' + numbers.size)
    return numbers.get(value)
  }
  const shapeOf = (object) =>
    Object.fromEntries(
      Reflect.ownKeys(object).map((key) => {
        const { value, get, set } = Reflect.getOwnPropertyDescriptor(object, key)
        // What Node counts and measures changes by itself.
        return [String(key), typeof value === 'number' ? 'number' : [value, get, set].map(numberOf)]
      }),
    )
  const look = () => ({
    handles: process.getActiveResourcesInfo().sort(),
    listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
    ...Object.fromEntries(Object.entries(shared).map(([name, object]) => [name, shapeOf(object)])),
  })
  const handles = process.getActiveResourcesInfo().sort()

  const ofOurs = new Set()
  /** Whoever called: a dependency may read and set what it likes. */
  const note = (what) => {
    const at = new Error().stack.split('\\n').slice(3).find((line) => line.includes('file://'))
    const isOurs = at !== undefined && !/\\/node_modules\\/(?!holdpoint\\/)/.test(at) && !at.includes('program.js')
    if (isOurs) ofOurs.add(what)
  }
  const environment = process.env
  process.env = new Proxy(environment, {
    get: (all, name) => (note('process.env.' + String(name)), all[name]),
    has: (all, name) => (note('process.env.' + String(name)), name in all),
    ownKeys: (all) => (note('process.env'), Reflect.ownKeys(all)),
  })
  for (const name of ['setTimeout', 'setInterval', 'setImmediate']) {
    const real = globalThis[name]
    globalThis[name] = Object.assign((...args) => (note(name), real(...args)), real)
  }
  // The Agents SDK, and what Node lends once it is asked for, change things as soon as they are loaded: we must add nothing.
  for (const dependency of ['@openai/agents', 'undici', 'pino', 'express', 'pg', 'zod', 'node:sqlite', 'node:worker_threads'])
    await import(dependency)
  const changed = {}
  for (const name of process.argv.slice(2)) {
    const before = { ...look(), handles }
    await import(name)
    const after = look()
    changed[name] = Object.keys(before).filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]))
  }
  process.stdout.write(JSON.stringify({ changed, ofOurs: [...ofOurs] }))`

interface Watched {
  readonly changed: Readonly<Record<string, readonly string[]>>
  readonly ofOurs: readonly string[]
}

/** What the program prints, in a process that has our sources as a user's project has the package. */
function importIn<T>(
  program: string,
  names: readonly string[],
  guilty?: string,
): T & { readonly files: readonly string[] } {
  using user = createUserProject()
  user.write('program.js', program)
  if (guilty !== undefined) user.write('guilty.js', guilty)
  const args = ['--conditions=holdpoint-source', 'program.js', ...names]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: user.dir,
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
    timeout: 30_000,
    killSignal: 'SIGKILL',
    maxBuffer: 32 * 1024 * 1024,
  })
  expect(stderr).toBe('')
  // Nothing keeps it alive.
  expect(status).toBe(0)
  return { ...(JSON.parse(stdout) as T), files: readdirSync(user.dir).sort() }
}
