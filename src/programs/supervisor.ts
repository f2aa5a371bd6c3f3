import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ProgramEndedError, type ReadyMessage } from './lifecycle.ts'
import { makeDataDir } from './secrets.ts'

export type Program = 'control-plane' | 'tool-server'

export interface Child {
  readonly program: Program
  readonly url: string
  readonly process: ChildProcess
  /** Resolves when it has ended, whatever the reason. */
  readonly ended: Promise<number | null>
  stop(): Promise<void>
}

export interface SpawnOptions {
  readonly program: Program
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where the program's structured log goes, appended. */
  readonly logDir: string
  /** Told every warning and error of the program, as one line for a person. */
  readonly onLine?: (line: string) => void
}

const STOP_WITHIN_MS = 20_000

/**
 * Starts one of our programs as a process of its own and waits until it can be used. It is in a process group of
 * its own, so that Ctrl-C reaches it only through us, and ends by itself when we are gone.
 */
export async function spawnProgram({ program, env, logDir, onLine }: SpawnOptions): Promise<Child> {
  makeDataDir(logDir)
  const logFile = createWriteStream(join(logDir, `${program}.log`), { flags: 'a', mode: 0o600 })
  const main = join(import.meta.dirname, '../main.ts')
  const child = spawn(process.execPath, ['--conditions=holdpoint-source', main, program], {
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const complaint: string[] = []
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => complaint.push(line))
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    logFile.write(`${line}\n`)
    const readable = forPeople(program, line)
    if (readable !== undefined) onLine?.(readable)
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  void ended.then(() => logFile.end())
  const url = await Promise.race([readiness(child), ended.then(() => undefined)])
  if (url === undefined) {
    throw new ProgramEndedError(
      complaint.join('\n') || `The ${program} ended before it was ready. Its log: ${logDir}/${program}.log`,
    )
  }
  return { program, url, process: child, ended, stop: () => stop(child, ended) }
}

function readiness(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.on('message', (message: ReadyMessage) => {
      if (message.ready) resolve(message.url)
    })
  })
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
  await ended
  clearTimeout(timer)
}

/** Warnings and errors, short; undefined for what only the log file needs. */
function forPeople(program: Program, line: string): string | undefined {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line)
  } catch {
    return `${program}: ${line}`
  }
  if (!['warn', 'error', 'fatal'].includes(String(entry['level']))) return undefined
  const details = ['code', 'boundary', 'tool', 'device_id', 'request_id', 'err']
    .filter((name) => typeof entry[name] === 'string')
    .map((name) => (name === 'request_id' ? `request ${String(entry[name])}` : String(entry[name])))
  return [`${program}: ${String(entry['msg'] ?? entry['level'])}`, ...details].join('  ')
}
