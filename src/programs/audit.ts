import { open } from 'node:fs/promises'
import { parseArgs } from 'node:util'

import {
  createChainVerifier,
  type ChainReport,
  type NotedRow,
  type UnreadableRow,
} from '../control-plane/audit-verify.ts'
import type { AuditRow } from '../control-plane/records.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { openAuditDatabase } from '../store/postgres/audit-database.ts'
import { openAuditFile } from '../store/sqlite/audit-file.ts'
import { readExport } from './audit-export.ts'
import type { CommandDatabase } from './backup.ts'

const USAGE = `Usage: audit verify [FILE] [--org ORG_ID] [--head SEQ:HASH]

Verifies audit chains offline. FILE is an export (GET /api/v1/audit?format=jsonl), the database of a control plane,
running or not, or a backup of it. Without FILE it is the database that DATABASE_URL leads to. Prints a line for each
org, and exits with 0 when every chain is intact, with 1 when one is broken, and with 2 when it could not be looked at,
or holds no org and no row.

  --org ORG_ID     only this org's chain
  --head SEQ:HASH  a row that was noted elsewhere, SEQ from 1: without one, nothing shows that rows were cut off at the
                   end, or that the whole chain was made anew. Each line that a control plane logs about a change has
                   one, as "audit".`

/** Where the command says something, in lines without their end. */
export interface Terminal {
  /** Standard output. */
  readonly say: (text: string) => void
  /** Standard error. */
  readonly note: (text: string) => void
}

interface Asked {
  readonly from: { readonly file: string } | { readonly database: CommandDatabase }
  readonly org: string | undefined
  readonly head: NotedRow | undefined
}

/** The command `audit`. Resolves with its exit status. */
export async function runAudit(
  args: readonly string[],
  terminal: Terminal,
  databaseOf: () => CommandDatabase | undefined = () => undefined,
): Promise<number> {
  const asked = askedOf(args, databaseOf)
  if (typeof asked === 'string') {
    if (asked === '') terminal.say(USAGE)
    else terminal.note(`${asked}\n\n${USAGE}`)
    return asked === '' ? 0 : 2
  }
  try {
    let broken = false
    for await (const report of reportsOf(asked, createProgress(terminal))) {
      terminal.say(lineOf(report))
      broken ||= !report.intact
    }
    return broken ? 1 : 0
  } catch (error) {
    if (!(error instanceof HoldpointError)) throw error
    terminal.note(`${error.message} (${error.code})`)
    return 2
  }
}

/** What is wrong with the arguments, as a sentence; empty when help is asked for. */
function askedOf(args: readonly string[], databaseOf: () => CommandDatabase | undefined): Asked | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { org: { type: 'string' }, head: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
    const [action, file, ...more] = positionals
    if (values.help === true || action === 'help') return ''
    const from = action === 'verify' && more.length === 0 ? sourceOf(file, databaseOf) : undefined
    if (from === undefined) return 'Say what to verify: audit verify FILE, or set DATABASE_URL.'
    const head = values.head === undefined ? undefined : notedOf(values.head)
    if (values.head !== undefined && head === undefined) {
      return '--head takes SEQ:HASH, the first SEQ being 1, with the whole hash or at least 16 characters of it, for example 12:9f86d081884c7d65.'
    }
    return { from, org: values.org, head }
  } catch (error) {
    return messageOf(error)
  }
}

function sourceOf(
  file: string | undefined,
  databaseOf: () => CommandDatabase | undefined,
): Asked['from'] | undefined {
  if (file !== undefined) return { file }
  const database = databaseOf()
  return database && { database }
}

function notedOf(text: string): NotedRow | undefined {
  const [, seq, hash] = /^([1-9]\d{0,14}):([0-9a-f]{16,64})$/.exec(text) ?? []
  return seq === undefined || hash === undefined ? undefined : { seq: Number(seq), hash }
}

type Rows = AsyncIterable<AuditRow | UnreadableRow> | Iterable<AuditRow | UnreadableRow>

async function* reportsOf(asked: Asked, progress: () => void): AsyncGenerator<ChainReport, void, void> {
  const { from } = asked
  if ('file' in from && !(await isDatabase(from.file))) {
    yield await verify(undefined, readExport(from.file), { ...asked, name: from.file }, progress)
    return
  }
  const chains =
    'file' in from
      ? { ...openAuditFile(from.file), label: from.file }
      : await openAuditDatabase(from.database)
  const named = { ...asked, name: chains.label }
  try {
    for (const orgId of orgsOf(chains.orgIds, named))
      yield await verify(orgId, chains.rows(orgId), named, progress)
  } finally {
    await chains.close()
  }
}

type Named = Asked & { readonly name: string }

function orgsOf(orgIds: readonly string[], { name: file, org, head }: Named): readonly string[] {
  if (orgIds.length === 0) {
    throw new HoldpointError(
      'AUDIT_EMPTY',
      `${file} has no org and no audit row: there is nothing to verify. If it ever had one, it was emptied.`,
    )
  }
  if (org !== undefined && !orgIds.includes(org)) throw noSuchOrg(file, org)
  const wanted = org === undefined ? orgIds : [org]
  if (head !== undefined && wanted.length !== 1) {
    throw new HoldpointError(
      'AUDIT_ORG_NEEDED',
      `--head is of one org, and ${file} has ${wanted.length}. Say which with --org.`,
    )
  }
  return wanted
}

function noSuchOrg(file: string, org: string): HoldpointError {
  return new HoldpointError(
    'ORG_NOT_FOUND',
    `${file} has nothing of an org ${org}. Leave out --org to see which it has.`,
  )
}

/** An export is of one org, that of its first row. */
async function verify(
  orgId: string | undefined,
  rows: Rows,
  { name: file, org, head }: Named,
  progress: () => void,
): Promise<ChainReport> {
  let verifier = orgId === undefined ? undefined : createChainVerifier(orgId, head)
  for await (const row of rows) {
    verifier ??= createChainVerifier('orgId' in row ? row.orgId : UNKNOWN, head)
    if ('problem' in row) verifier.addUnreadable(row)
    else verifier.add(row)
    progress()
  }
  const report = (verifier ?? createChainVerifier(UNKNOWN, head)).end()
  if (org !== undefined && org !== report.orgId) throw noSuchOrg(file, org)
  return report
}

const UNKNOWN = 'an unknown org'

async function isDatabase(file: string): Promise<boolean> {
  const handle = await open(file).catch((cause: unknown) => {
    throw new HoldpointError(
      'FILE_NOT_READABLE',
      `${file} cannot be read: ${messageOf(cause)}. Check its name.`,
      { cause },
    )
  })
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SQLITE.length), 0, SQLITE.length, 0)
    return bytesRead === SQLITE.length && buffer.equals(SQLITE)
  } catch (cause) {
    throw new HoldpointError('FILE_NOT_READABLE', `${file} cannot be read: ${messageOf(cause)}.`, { cause })
  } finally {
    await handle.close()
  }
}

const SQLITE = Buffer.from('SQLite format 3\0')

function lineOf({ orgId, rows, head, firstBroken }: ChainReport): string {
  if (firstBroken === null)
    return `${orgId}: intact, ${rows} rows, head ${head?.seq ?? 0}:${head?.hash ?? ''}`
  const { seq, id, problem } = firstBroken
  return `${orgId}: BROKEN at row ${seq}${id === null ? '' : ` (${id})`}. ${problem}`
}

const PROGRESS_MS = 1000

/** Says how far it is once a second, from the second second on. */
function createProgress({ note }: Terminal): () => void {
  let rows = 0
  let saidAtMs = performance.now()
  return () => {
    rows++
    if (rows % 1000 !== 0 || performance.now() - saidAtMs < PROGRESS_MS) return
    saidAtMs = performance.now()
    note(`${rows} rows …`)
  }
}
