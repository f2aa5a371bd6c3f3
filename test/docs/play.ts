// Commands of a page, as they stand there, line by line: `npx holdpoint …` in this process, everything else in a shell.

import { execFile, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import type { Env } from '../../src/config.ts'
import { run } from '../cli/run.ts'
import type { TestControlPlane } from '../fixtures/control-plane.ts'

interface PlayerOptions {
  /** Where it is played. `data` in it is the DATA_DIR of the commands. */
  readonly dir: string
  /** What an address of the page is here. */
  readonly urls: Readonly<Record<string, string>>
  readonly authority?: TestControlPlane
  readonly env?: Env
}

/** Plays each line in order, and gives what each printed. Rejects when one ends with another status than 0. */
export type Play = (text: string) => Promise<string[]>

export function player({ dir, urls, authority, env }: PlayerOptions): Play {
  const holdpoint = async (args: string): Promise<string> => {
    const words = wordsOf(args).map((word) => (ownFile(word) ? join(dir, word) : word))
    const options = { ...(authority && { authority }), ...(env && { env }) }
    const { status, stdout, stderr } = await run(words, options)
    if (status !== 0) throw new Error(`holdpoint ${args}: ${status} ${stderr}`)
    return stdout
  }
  const shell = (line: string): Promise<string> => {
    let here = line
    for (const [url, own] of Object.entries(urls)) here = here.replaceAll(url, own)
    return said(execFile('sh', ['-e', '-c', here], { cwd: dir }), line)
  }
  return async (text) => {
    const printed: string[] = []
    for (const line of text.trim().split('\n')) {
      const [, args] = /^npx holdpoint (.*)$/.exec(line) ?? []
      printed.push(args === undefined ? await shell(line) : await holdpoint(args))
    }
    return printed
  }
}

/** How a command ended, and what it printed. */
export interface Typed {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

export async function ended(child: ChildProcess): Promise<Typed> {
  let out = ''
  let err = ''
  child.stdout?.on('data', (text: Buffer | string) => (out += text.toString()))
  child.stderr?.on('data', (text: Buffer | string) => (err += text.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, out, err }
}

/** What a child printed, once it has ended well. */
export async function said(child: ChildProcess, what: string): Promise<string> {
  const { status, out, err } = await ended(child)
  if (status !== 0) throw new Error(`${what}: ${String(status)} ${err}`)
  return out
}

/** As a shell splits them, a comment left out. */
export function wordsOf(line: string): readonly string[] {
  const [code = ''] = line.split(/ +# /)
  return [...code.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? '',
  )
}

function ownFile(word: string): boolean {
  return /^[\w/-]+\.(?:key|json|token)$/.test(word)
}
