import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

import type { ApprovalView } from '../../src/agents/hosted/run-types.ts'
import { createLedger } from '../../tools/ledger.ts'
import { pages } from '../docs/markdown.ts'
import { hasCurl, startReadmePrograms, type ReadmePrograms } from '../fixtures/readme-programs.ts'

const canRun = hasCurl("the README's commands")

const COMMANDS = pages()
  .find(({ file }) => file === 'README.md')
  ?.blocks.flatMap(({ text }) => text.split('\n').filter((line) => line.startsWith('curl ')))

let programs: ReadmePrograms
beforeAll(async () => {
  programs = await startReadmePrograms()
}, 60_000)
afterAll(() => programs.close(), 60_000)

test.skipIf(!canRun)(
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

function run(command: string): Record<string, unknown> {
  return JSON.parse(programs.curl(command)) as Record<string, unknown>
}

function payments(): string[] {
  const ledger = createLedger({ file: join(programs.dataDir, 'ledger.sqlite') })
  try {
    return ledger.payments().map(({ invoiceId }) => invoiceId)
  } finally {
    ledger.close()
  }
}
