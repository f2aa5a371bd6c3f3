import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { LLMock } from '@copilotkit/aimock'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { pages } from './markdown.ts'
import { createUserProject, type UserProject } from './user-project.ts'

const SERVER = 'openai-agent:dev:tool-server:01'
const PAYMENTS = 'openai-agent:dev:payments:01'
const TOLD = 'I was told '
const PROGRAM = pages().find(({ file }) => file === 'README.md')?.blocks[0]?.text ?? ''

let authority: TestControlPlane
let openai: LLMock
let project: UserProject

beforeAll(async () => {
  authority = await startTestControlPlane({ plan: 'free' })
  openai = new LLMock({ port: 0 })
  const call = {
    name: 'refund_invoice',
    arguments: JSON.stringify({ invoiceId: 'INV-1001', refundNo: 1, amountCents: 500 }),
    id: 'call_1',
  }
  openai.on({ userMessage: 'Refund 500 cents of INV-1001', hasToolResult: false }, { toolCalls: [call] })
  // The model repeats what it was told, so that the program prints it.
  openai.on({ hasToolResult: true }, ({ messages }) => {
    const told = messages.at(-1)?.content
    return { content: `${TOLD}${typeof told === 'string' ? told : ''}` }
  })
  await openai.start()
})
afterAll(async () => {
  await openai.stop()
  await authority.close()
})
beforeEach(() => {
  project = createUserProject()
  project.write('readme.ts', PROGRAM)
  return () => project[Symbol.dispose]()
})

describe("the README's first program, unchanged, with the real OpenAI client", () => {
  test('refunds, having asked twice; a second attempt with the same key refunds nothing', async () => {
    const first = await runProgram()
    expect(first.status).toBe(0)
    expect(first.told).toEqual({ refundedCents: 500, receipt: expect.stringMatching(/^hp_[0-9a-f]{40}$/) })
    expect(first.boundaries).toEqual(['startup', 'tool', 'side_effect'])
    expect(effects()).toEqual([{ effect: 'refund_invoice', state: 'done' }])

    const second = await runProgram()
    expect(second.told).toMatchObject({ replayed: true, result: first.told })
    expect(effects()).toHaveLength(1)
  }, 60_000)

  test('with payments revoked: nothing is refunded, and the model is told DEVICE_REVOKED', async () => {
    await authority.revoke(PAYMENTS)
    const { status, told, boundaries } = await runProgram()
    await authority.restore(PAYMENTS)
    expect(status).toBe(0)
    expect(told).toMatchObject({ error: 'permission_denied', code: 'DEVICE_REVOKED', executed: false })
    expect(boundaries).toEqual(['startup', 'tool'])
    expect(effects()).toEqual([])
  }, 60_000)

  test('with the whole process revoked: it throws StartupDenied before the model is asked', async () => {
    await authority.revoke(SERVER)
    openai.clearRequests()
    const { status, text } = await runProgram()
    await authority.restore(SERVER)
    expect(status).toBe(1)
    expect(text).toContain(`StartupDenied: Startup of ${SERVER} was denied: DEVICE_REVOKED`)
    expect(openai.getRequests()).toEqual([])
  }, 60_000)
})

interface Ended {
  readonly status: number | null
  readonly text: string
  /** The boundaries that the guard logged, in order. */
  readonly boundaries: readonly unknown[]
  /** What the tool answered, as the model repeated it. */
  readonly told: unknown
}

async function runProgram(): Promise<Ended> {
  const env = {
    PATH: process.env['PATH'],
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    DATA_DIR: dataDir(),
    // The longest budget: a test machine may be busy.
    VALIDATE_TIMEOUT_MS: '3000',
    OPENAI_BASE_URL: `${openai.url}/v1`,
    OPENAI_API_KEY: 'test',
    OPENAI_AGENTS_DISABLE_TRACING: '1',
  }
  const { status, out, err } = await new Promise<{ status: number | null; out: string; err: string }>(
    (resolve) => {
      const args = ['--conditions=holdpoint-source', 'readme.ts']
      const child = execFile(
        process.execPath,
        args,
        { cwd: project.dir, env, timeout: 25_000 },
        (_error, out, err) => resolve({ status: child.exitCode, out, err }),
      )
    },
  )
  const lines = out.split('\n')
  const logged = lines.filter((line) => line.startsWith('{'))
  const told = lines.find((line) => line.startsWith(TOLD))?.slice(TOLD.length)
  return {
    status,
    text: out + err,
    boundaries: logged.flatMap((line) => (JSON.parse(line) as { boundary?: string }).boundary ?? []),
    told: told === undefined ? undefined : JSON.parse(told),
  }
}

function dataDir(): string {
  return join(project.dir, 'data')
}

/** What the journal knows. */
function effects(): unknown {
  const db = new DatabaseSync(join(dataDir(), 'journal.sqlite'), { readOnly: true })
  try {
    return db
      .prepare('SELECT effect, state FROM effect_journal')
      .all()
      .map((row) => ({ ...row }))
  } finally {
    db.close()
  }
}
