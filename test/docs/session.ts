// Somebody at a terminal, who types what stands on the pages against what npm start runs, and says yes to every question.

import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'

import { runCli } from '../../src/cli/run-cli.ts'
import { bare, commandLines } from './command-lines.ts'
import { PROJECT } from './markdown.ts'
import { ended, wordsOf, type Typed } from './play.ts'
import { startWorld } from './world.ts'

/** How a line is played. Default: as it stands there, and it must end with 0. */
export interface Step {
  /** What is typed instead: the ids of a page are not those of this org. */
  readonly as?: (line: string) => string | Promise<string>
  readonly status?: number
  /** What it must have printed. */
  readonly says?: RegExp
  /** For what goes on until Ctrl-C, which comes when this is through. */
  readonly until?: (printed: () => string) => Promise<unknown>
}

export async function startSession() {
  const world = await startWorld()
  const { dir, urls, env } = world

  const shell = async (line: string, more: Readonly<Record<string, string>> = {}): Promise<Typed> => {
    let here = line.replace(/^curl /, 'curl --silent --fail-with-body ')
    for (const [url, own] of Object.entries(urls)) here = here.replaceAll(url, own)
    const isOfCheckout = here.startsWith('npm ')
    return ended(
      execFile('sh', ['-e', '-c', here], {
        cwd: isOfCheckout ? PROJECT : dir,
        env: { PATH: process.env['PATH'], HOME: dir, ...env, ...more },
      }),
    )
  }

  const holdpoint = async (words: readonly string[], until?: Step['until']): Promise<Typed> => {
    const out = collector(false)
    const err = collector(true)
    const stdin = Object.assign(new PassThrough(), { isTTY: true })
    err.stream.on('data', (text: Buffer) => {
      if (text.toString().includes('[y/N]')) stdin.write('y\n')
    })
    const ctrlC = new AbortController()
    const running = runCli(
      words.map((word) => (/^[\w/-]+\.(?:key|jsonl?|token|db)$/.test(word) ? join(dir, word) : word)),
      { env, stdin, stdout: out.stream, stderr: err.stream, signal: ctrlC.signal },
    )
    if (until !== undefined) await until(out.text).finally(() => ctrlC.abort())
    return { status: await running, out: out.text(), err: err.text() }
  }

  /** What works on files has a process of its own, as in the shell. */
  const onFiles = (words: readonly string[], own: Readonly<Record<string, string>> = {}): Promise<Typed> => {
    const main = ['--conditions=holdpoint-source', join(PROJECT, 'src/main.ts'), ...words]
    return ended(
      spawn(process.execPath, main, { cwd: dir, env: { PATH: process.env['PATH'], ...env, ...own } }),
    )
  }

  const type = (line: string, until?: Step['until']): Promise<Typed> => {
    const [, args] = /^holdpoint (.*)$/.exec(bare(line)) ?? []
    if (args === undefined) return shell(line)
    const words = wordsOf(args)
    return /^(?:audit verify|backup|restore-backup)\b/.test(args) ? onFiles(words) : holdpoint(words, until)
  }

  /** Types it, and gives what it printed; anything but this status is an error. */
  const expectTyped = async (line: string, { status = 0, until, says }: Step = {}): Promise<string> => {
    const typed = await type(line, until)
    const { out, err } = typed
    if (typed.status !== status)
      throw new Error(`${line}: ${typed.status} instead of ${status}\n${out}${err}`)
    if (says?.test(out + err) === false) throw new Error(`${line}: no ${String(says)} in\n${out}${err}`)
    return out
  }

  return {
    ...world,
    shell,
    onFiles,
    say: expectTyped,
    json: async (line: string) => JSON.parse(await expectTyped(`${line} --json`)) as unknown,
    /** Each line of that section in order; a step goes by how its line begins. */
    playSection: async (file: string, heading: string, steps: Readonly<Record<string, Step>> = {}) => {
      const lines = linesOf(file, heading)
      const used = new Set<string>()
      for (const line of lines) {
        const [key, step] = stepOf(steps, line)
        if (key !== undefined) used.add(key)
        await expectTyped((await step.as?.(line)) ?? line, step)
      }
      const stale = Object.keys(steps).filter((key) => !used.has(key))
      if (lines.length === 0 || stale.length > 0) throw new Error(`${file}, ${heading}: no ${stale.join()}`)
    },
  }
}

export type Session = Awaited<ReturnType<typeof startSession>>

export function linesOf(file: string, heading: string): readonly string[] {
  return commandLines()
    .filter((command) => command.file === file && command.heading === heading)
    .map(({ line }) => line)
}

function stepOf(steps: Readonly<Record<string, Step>>, line: string): readonly [string | undefined, Step] {
  const key = Object.keys(steps)
    .filter((begin) => bare(line).startsWith(begin))
    .toSorted((one, other) => other.length - one.length)[0]
  return [key, (key === undefined ? undefined : steps[key]) ?? {}]
}

function collector(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 200 })
  let text = ''
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  return { stream, text: () => text }
}
