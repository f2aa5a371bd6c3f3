import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ownProgram } from '../package-root.ts'
import { ProgramEndedError, type ProgramMessage } from './lifecycle.ts'
import { makeDataDir } from './secrets.ts'

export type Program = 'control-plane' | 'tool-server'

export interface Child {
  readonly program: Program
  readonly url: string
  /** Of the control plane: where operators ask. */
  readonly operatorUrl: string | undefined
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
  /** Ends a program that is still starting. */
  readonly signal?: AbortSignal
}

const STOP_WITHIN_MS = 20_000

/**
 * Starts one of our programs as a process of its own and waits until it can be used. It is in a process group of
 * its own, so that Ctrl-C reaches it only through us, and ends by itself when we are gone.
 */
export async function spawnProgram(options: SpawnOptions): Promise<Child> {
  const { program, env, logDir, onLine, signal } = options
  signal?.throwIfAborted()
  makeDataDir(logDir)
  const logFile = createWriteStream(join(logDir, `${program}.log`), { flags: 'a', mode: 0o600 })
  const child = spawn(process.execPath, [...ownProgram(), program], {
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
  const giveUp = () => void stop(child, ended)
  signal?.addEventListener('abort', giveUp)
  const message = await Promise.race([firstMessage(child), ended.then(() => undefined)])
  signal?.removeEventListener('abort', giveUp)
  if (message?.state !== 'ready') {
    await ended
    const said = complaint.join('\n')
    throw new ProgramEndedError(
      said || `The ${program} ended before it was ready. Its log: ${logDir}/${program}.log`,
      message,
    )
  }
  const { url, operatorUrl } = message
  return { program, url, operatorUrl, process: child, ended, stop: () => stop(child, ended) }
}

function firstMessage(child: ChildProcess): Promise<ProgramMessage> {
  return new Promise((resolve) => child.once('message', (message) => resolve(message as ProgramMessage)))
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
  await ended
  clearTimeout(timer)
}

/** Warnings, errors and what an operator changed, short; undefined for what only the log file needs. */
function forPeople(program: Program, line: string): string | undefined {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line)
  } catch {
    return `${program}: ${line}`
  }
  const isChange = entry['actor'] !== undefined
  if (!isChange && !['warn', 'error', 'fatal'].includes(String(entry['level']))) return undefined
  const details = [
    'code',
    'boundary',
    'tool',
    'path',
    'device_id',
    'pattern',
    'key_id',
    'epoch',
    'reason',
    'request_id',
    'err',
  ]
    .filter((name) => ['string', 'number'].includes(typeof entry[name]))
    .map((name) => `${LABELS[name] ?? ''}${String(entry[name])}`)
  return [`${program}: ${String(entry['msg'] ?? entry['level'])}`, ...details].join('  ')
}

const LABELS: Record<string, string> = { request_id: 'request ', epoch: 'epoch ' }
