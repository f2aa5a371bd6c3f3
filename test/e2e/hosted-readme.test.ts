import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

import type { ApprovalView } from '../../src/agents/hosted/run-types.ts'
import { writeCurlFiles } from '../../src/programs/banner.ts'
import { spawnProgram, type Child } from '../../src/programs/supervisor.ts'
import { createLedger } from '../../tools/ledger.ts'
import { pages } from '../docs/markdown.ts'

const hasCurl = spawnSync('curl', ['--version']).status === 0
if (!hasCurl) console.warn("skipped: the README's commands need curl, which is not on this machine")

const COMMANDS = pages()
  .find(({ file }) => file === 'README.md')
  ?.blocks.flatMap(({ text }) => text.split('\n').filter((line) => line.startsWith('curl ')))

let dataDir: string
const children: Child[] = []

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'holdpoint-readme-'))
  const ports = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
  const start = {
    logDir: join(dataDir, 'logs'),
    env: { PATH: process.env['PATH'], DATA_DIR: dataDir, VALIDATE_TIMEOUT_MS: '3000', ...ports },
  }
  const controlPlane = await spawnProgram({ ...start, program: 'control-plane' })
  children.push(controlPlane)
  const env = { ...start.env, MACHINEID_BASE_URL: controlPlane.url }
  children.push(await spawnProgram({ ...start, env, program: 'tool-server' }))
  writeCurlFiles(dataDir, undefined)
}, 60_000)
afterAll(async () => {
  for (const child of children.toReversed()) await child.stop()
  rmSync(dataDir, { recursive: true, force: true })
}, 60_000)

test.skipIf(!hasCurl)(
  "the README's three commands start a run, approve its payment, and resume it, which pays once",
  () => {
    expect(COMMANDS).toHaveLength(3)
    const [start = '', approve = '', resume = ''] = COMMANDS ?? []
    const paused = run(start)
    expect(paused).toMatchObject({
      runId: 'tour',
      status: 'interrupted',
      approvals: [{ tool: 'send_payment' }],
    })
    const [{ callId, digest }] = paused['approvals'] as [ApprovalView]
    expect(run(approve.replace('…', callId).replace('…', digest))).toMatchObject({
      approvals: [{ callId, state: 'approved' }],
    })
    expect(payments()).toEqual([])
    expect(run(resume)).toMatchObject({ status: 'completed' })
    expect(payments()).toEqual(['INV-1002'])
    expect(run(resume)).toMatchObject({ code: 'RUN_ENDED' })
    expect(payments()).toEqual(['INV-1002'])
  },
  60_000,
)

/** As it stands in the README, with this server's port and folder. */
function run(command: string): Record<string, unknown> {
  const here = command
    .replace('http://127.0.0.1:4200', children[1]?.url ?? '')
    .replace(/ data\//, ` ${dataDir}/`)
  expect(here).not.toBe(command)
  const { stdout } = spawnSync('sh', ['-c', `${here} --silent`], { encoding: 'utf8' })
  return JSON.parse(stdout) as Record<string, unknown>
}

function payments(): string[] {
  const ledger = createLedger({ file: join(dataDir, 'ledger.sqlite') })
  try {
    return ledger.payments().map(({ invoiceId }) => invoiceId)
  } finally {
    ledger.close()
  }
}
