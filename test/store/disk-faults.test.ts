import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { rowHash } from '../../src/control-plane/audit-chain.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { ORG } from '../contract/control-plane-records.ts'

const PROGRAM = [
  process.execPath,
  '--conditions=holdpoint-source',
  join(import.meta.dirname, 'child-store.ts'),
]
const NOBODY = 65_534
const STRACE = 'strace'

/** Why strace cannot break system calls here; undefined when it can. */
const withoutStrace = reasonAgainstStrace()
if (withoutStrace !== undefined) console.warn(`disk faults by strace are not tested here: ${withoutStrace}`)

function reasonAgainstStrace(): string | undefined {
  const { error, status, stderr } = spawnSync(STRACE, ['-e', 'trace=none', 'true'], { encoding: 'utf8' })
  if (error !== undefined) return error.message
  return status === 0 ? undefined : stderr
}

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-faults-'))
  file = join(dir, 'control-plane.db')
})
afterEach(() => rmSync(dir, { recursive: true }))

interface Told {
  readonly acked?: number
  readonly error?: string
  readonly message?: string
  readonly problem?: string
  readonly again?: string
  readonly refused?: string
}

async function run([program = '', ...args]: string[], asUser?: number): Promise<Told[]> {
  const user = asUser === undefined ? [] : [String(asUser)]
  const child = spawn(program, [...args, file, ...user], { stdio: ['ignore', 'pipe', 'ignore'] })
  const lines = (await text(child.stdout)).trim().split('\n')
  return lines.map((line) => JSON.parse(line) as Told)
}

/** What was acked is there, and the chain of what was stored adds up. */
async function expectIntact(told: Told[]): Promise<void> {
  const acked = Math.max(...told.map((message) => message.acked ?? 0))
  expect(acked).toBeGreaterThan(3)
  const store = openControlPlaneStore({ file })
  const { result: epoch } = await store.change(ORG.orgId, {}, (found) => ({ result: found?.org.epoch ?? 0 }))
  expect(epoch).toBeGreaterThanOrEqual(acked)
  const rows = await store.listAudit(ORG.orgId, { after: 0, limit: 10_000 })
  expect(rows).toHaveLength(epoch)
  for (const row of rows) expect(row.hash).toBe(rowHash(row))
  await store.close()
}

describe('a disk that fails', { timeout: 60_000 }, () => {
  const failsWith = async (codes: RegExp, command: string[]) => {
    const told = await run(command)
    const last = told.at(-1)
    expect(last).toMatchObject({
      error: expect.stringMatching(codes),
      problem: last?.error,
      again: last?.error,
    })
    expect(last?.message).toMatch(/(?:start again|Check the disk.*)\.$/)
    await expectIntact(told)
  }

  test('G5: a file that cannot grow: no ack from then on, and what was acked is there', () =>
    failsWith(/^STORE_(?:IO|FULL)$/, ['bash', '-c', 'ulimit -f 500; exec "$0" "$@"', ...PROGRAM]))

  test.skipIf(withoutStrace !== undefined)(
    'G5: a full disk: no ack from then on, and what was acked is there',
    () =>
      failsWith(/^STORE_FULL$/, [
        STRACE,
        '-o',
        '/dev/null',
        '-e',
        'inject=pwrite64:error=ENOSPC:when=400+',
        ...PROGRAM,
      ]),
  )

  test.skipIf(withoutStrace !== undefined)(
    'G5: a sync that fails once: that change is not acked, nor any later one',
    () =>
      failsWith(/^STORE_IO$/, [
        STRACE,
        '-o',
        '/dev/null',
        '-e',
        'inject=fsync,fdatasync:error=EIO:when=30',
        ...PROGRAM,
      ]),
  )

  test.skipIf(withoutStrace !== undefined)(
    'G5: reads that fail while it opens: it is refused with the reason',
    async () => {
      await openControlPlaneStore({ file }).close()
      const told = await run([
        STRACE,
        '-o',
        '/dev/null',
        '-P',
        file,
        '-e',
        'inject=pread64:error=EIO',
        ...PROGRAM,
      ])
      expect(told).toEqual([
        {
          refused: 'STORE_IO',
          message: expect.stringMatching(/control-plane\.db .*Check the disk, then start again\.$/),
        },
      ])
    },
  )

  const root = process.getuid?.() === 0
  test('a file that may not be written: it is refused with the reason', async () => {
    await openControlPlaneStore({ file }).close()
    for (const path of [file, `${file}.lock`]) chmodSync(path, path === file ? 0o444 : 0o666)
    if (root) chownSync(dir, NOBODY, NOBODY)
    // Root may write everything.
    const told = await run(PROGRAM, root ? NOBODY : undefined)
    expect(told).toEqual([
      { refused: 'STORE_NOT_WRITABLE', message: expect.stringMatching(/Check the owner and mode/) },
    ])
  })

  test.skipIf(!root)('a file of another user: its owner and mode are named, and who asked', async () => {
    await openControlPlaneStore({ file }).close()
    chmodSync(`${file}.lock`, 0o666)
    chownSync(dir, NOBODY, NOBODY)
    const message = `Check the owner and mode of ${file}: it belongs to user 0 with mode 600, and this runs as user ${NOBODY}.`
    expect(await run(PROGRAM, NOBODY)).toEqual([
      { refused: 'STORE_NOT_WRITABLE', message: expect.stringContaining(message) },
    ])
  })
})
