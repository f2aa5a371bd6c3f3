import { createReadStream } from 'node:fs'

import type { UnreadableRow } from '../control-plane/audit-verify.ts'
import { auditRowOf } from '../control-plane/evidence-rows.ts'
import type { AuditRow } from '../control-plane/records.ts'
import { parseStrictObject } from '../machineid/strict-json.ts'

/** Far more than any row that was ever written. */
const MAX_LINE_BYTES = 1024 * 1024
const NEWLINE = 10

/** The rows of an export, one a line, in the order in which they stand there. What is none says so. */
export async function* readExport(file: string): AsyncGenerator<AuditRow | UnreadableRow, void, void> {
  let line = 0
  for await (const bytes of linesOf(file)) {
    line++
    if (bytes.length > 0) yield rowOf(bytes, line)
  }
}

function rowOf(bytes: Uint8Array, line: number): AuditRow | UnreadableRow {
  return (
    auditRowOf(parseStrictObject(bytes)) ?? {
      problem: `Line ${line} is no audit row: it was changed, or the export was cut off there.`,
    }
  )
}

/** Bytes, so that what is not UTF-8 shows. A line that is too long comes in parts, none of which is a row. */
async function* linesOf(file: string): AsyncGenerator<Buffer, void, void> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let from = 0
    for (let to = rest.indexOf(NEWLINE); to !== -1; to = rest.indexOf(NEWLINE, from)) {
      yield rest.subarray(from, to)
      from = to + 1
    }
    rest = rest.subarray(from)
    if (rest.length <= MAX_LINE_BYTES) continue
    yield rest
    rest = Buffer.alloc(0)
  }
  yield rest
}
