import { afterAll, beforeAll, expect, test } from 'vitest'

import { run, type RunOptions } from '../cli/run.ts'
import { pages } from '../docs/markdown.ts'
import { hasCurl, startReadmePrograms, type ReadmePrograms } from '../fixtures/readme-programs.ts'

const canRun = hasCurl("the README's session")

/** The session of the README as it was recorded: each command with what it printed. */
const SESSION = (pages().find(({ file }) => file === 'README.md')?.blocks ?? [])
  .filter(({ language }) => language === 'console')
  .flatMap(({ text }) => text.split('\n\n').join('\n').split(/^\$ /m).slice(1))
  .map((part) => {
    const [command = '', ...lines] = part.trimEnd().split('\n')
    return { command, lines }
  })

type Step = (typeof SESSION)[number]
type Steps = [Step, Step, Step, Step, Step]

let programs: ReadmePrograms
const terminal: RunOptions = { terminal: 140 }
beforeAll(async () => {
  programs = await startReadmePrograms()
}, 60_000)
afterAll(() => programs.close(), 60_000)

test.skipIf(!canRun)(
  "the README's session: tail in one terminal, panic in the other, why, and restore; each prints what stands there",
  async () => {
    const [tail, panic, pay, explain, enable] = SESSION as Steps
    expect(SESSION.map(({ command }) => command.split(' ').slice(0, 3).join(' '))).toEqual([
      'npx holdpoint tail',
      'npx holdpoint panic',
      'curl -K data/caller.curl',
      'npx holdpoint explain',
      'npx holdpoint org',
    ])
    const watching = new AbortController()
    const watched = holdpoint(tail.command, { signal: watching.signal })
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expectSaid(await holdpoint(panic.command, { answer: 'y' }), panic.lines)
    const denied = programs.curl(pay.command)
    expect(pay.lines[0]?.replace(' …', '')).toBe(denied.slice(0, pay.lines[0]?.length).slice(0, -2))
    const { request_id: requestId } = JSON.parse(denied) as { request_id: string }
    expectSaid(await holdpoint(explain.command.replace(UUID, requestId)), explain.lines)
    expectSaid(await holdpoint(enable.command, { answer: 'y' }), enable.lines)
    expect(JSON.parse(programs.curl(pay.command))).toHaveProperty(
      'output',
      expect.stringContaining('paymentId'),
    )
    await new Promise((resolve) => setTimeout(resolve, 700))
    watching.abort()
    // What tail shows stands below the call, in the same block.
    expectSaid(await watched, pay.lines.slice(1))
  },
  60_000,
)

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/

async function holdpoint(command: string, options: RunOptions = {}): Promise<string> {
  const args = command.split(' ').slice(2)
  const env = { DATA_DIR: programs.dataDir, npm_command: 'exec' }
  const { stdout, stderr } = await run(args, { ...terminal, ...options, env })
  // A person's answer is not echoed by a pipe.
  return `${stderr.replace('[y/N] ', '[y/N] y\n')}${stdout}`
}

/** These lines stand there in this order, but for ids, times and measures; more may follow. */
function expectSaid(said: string, lines: readonly string[] = []): void {
  const found = said.split('\n').map(alike).filter(Boolean)
  const wanted = lines.map(alike).filter((line) => line !== '' && line !== '…')
  expect(wanted.length).toBeGreaterThan(2)
  const from = Math.max(found.indexOf(wanted[0] ?? ''), 0)
  expect(found.slice(from, from + wanted.length)).toEqual(wanted)
}

function alike(line: string): string {
  return (
    line
      // oxlint-disable-next-line no-control-regex -- the colours of a terminal
      .replaceAll(/\u001B\[\d+m/g, '')
      .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
      .replaceAll(/\bo_[a-z2-7]+/g, 'ORG')
      .replaceAll(/\/[0-9a-f]{8}\b/g, '/REPLICA')
      .replaceAll(/\b[a-z2-7]{16}\b/g, 'KEY')
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d\d:\d\d:\d\d\.\d{3}/g, 'TIME')
      .replaceAll(/\d+(?:\.\d+)? ms/g, 'MS')
      .replaceAll(/\d+ s ago|(?<=, |led )now\b/g, 'AGO')
      .replaceAll(/panic by [^\s"]+/g, 'panic by SOMEBODY')
      .replaceAll(/\s+/g, ' ')
      .trim()
  )
}
