import type { ServerResponse } from 'node:http'
import type { z } from 'zod'

import {
  AuditQuery,
  AuditResponse,
  AuditRowBody,
  AuditVerifyQuery,
  AuditVerifyResponse,
} from '../machineid/wire-evidence.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, type ApiContext, type OrgCall, type Reply, type Route } from './api-route.ts'
import { auditCsvLine, CSV_HEADER } from './audit-csv.ts'
import { searchAudit } from './audit-search.ts'
import { auditSlices, verifyChain } from './audit-slices.ts'
import { drained } from '../drained.ts'
import { auditBody, type AuditBody } from './evidence-rows.ts'
import { MAY_READ_EVIDENCE } from './key-kinds.ts'
import { Refusal } from './refusal.ts'
import type { AuditFilter } from './store.ts'

const PAGE_ROWS = 100
/** How many rows one call looks at: a page may be short, or empty, and still have a next one. */
const MAX_LOOKED = 100_000

type Asked = z.infer<typeof AuditQuery>

/** The chain of what was changed: to be read, taken away, and verified. */
export function auditRoutes(context: ApiContext): Route[] {
  const { store, feed } = context
  const reading = { store, turn: feed.streams.turn }
  return [
    orgRoute(context, MAY_READ_EVIDENCE, {
      method: 'get',
      path: PATHS.audit,
      handler: 'audit',
      summary: 'Lists the audit chain, or what fits of it, or exports it as JSON lines or CSV',
      input: AuditQuery,
      output: AuditResponse,
      lines: AuditRowBody,
      refusals: ['TOO_MANY_STREAMS', 'OVERLOADED'],
      run: async (call) => {
        const { input, key, session, orgId } = call
        const { format = 'json', limit = PAGE_ROWS } = input
        if (format !== 'json') return exported(context, call, format)
        const { order, from } = placeOf(input)
        const filter = filterOf(input)
        const stream = isFiltered(filter) ? feed.streams.open({ key, session }, () => {}) : undefined
        const search = searchAudit(reading, orgId, { filter, order, from, limit, maxLooked: MAX_LOOKED })
        const { rows, next } = await search.finally(() => stream?.release())
        const nexts =
          order === 'oldest' ? { nextAfter: next, nextBefore: null } : { nextAfter: null, nextBefore: next }
        return { body: { orgId, rows: rows.map(auditBody), ...nexts } }
      },
    }),
    orgRoute(context, MAY_READ_EVIDENCE, {
      method: 'get',
      path: PATHS.auditVerify,
      handler: 'audit/verify',
      summary: 'Verifies the audit chain, and that it still has a row that was noted elsewhere',
      input: AuditVerifyQuery,
      output: AuditVerifyResponse,
      refusals: ['TOO_MANY_STREAMS', 'OVERLOADED'],
      run: async ({ input: { seq, hash }, key, session, orgId }) => {
        if ((seq === undefined) !== (hash === undefined)) throw halfNoted()
        const noted = seq === undefined || hash === undefined ? undefined : { seq, hash }
        const stream = feed.streams.open({ key, session }, () => {})
        try {
          const report = await verifyChain(reading, orgId, { noted, isWanted: stream.isOpen })
          if (report === undefined) throw ended()
          return { body: { ...report } }
        } finally {
          stream.release()
        }
      },
    }),
  ]
}

function halfNoted(): Refusal {
  return new Refusal('BAD_REQUEST', 'Give "seq" and "hash" of a noted row together, or neither.')
}

function ended(): Refusal {
  return new Refusal(
    'OVERLOADED',
    'This ended before the last row was read: the key has ended, or the control plane is being stopped. Ask again.',
  )
}

/** Where a page begins, and which way it goes. Throws `BAD_REQUEST` for two ways at once. */
function placeOf({ after, before, order }: Asked): { order: 'oldest' | 'newest'; from: number } {
  if (after !== undefined && before !== undefined) {
    throw new Refusal('BAD_REQUEST', 'Give "after" (oldest first) or "before" (newest first), not both.')
  }
  if (after !== undefined && order === 'newest') {
    throw new Refusal(
      'BAD_REQUEST',
      '"after" is of pages that begin with the oldest row. Newest first, give "before".',
    )
  }
  if (before !== undefined && order === 'oldest') {
    throw new Refusal(
      'BAD_REQUEST',
      '"before" is of pages that begin with the newest row. Oldest first, give "after".',
    )
  }
  return before === undefined && order !== 'newest'
    ? { order: 'oldest', from: after ?? 0 }
    : { order: 'newest', from: before ?? Number.MAX_SAFE_INTEGER }
}

function filterOf({ action, device, actor, from, to }: Asked): AuditFilter {
  const msOf = (time: string | undefined) => (time === undefined ? undefined : Date.parse(time))
  return { action, device, actor, fromMs: msOf(from), toMs: msOf(to) }
}

function isFiltered(filter: AuditFilter): boolean {
  return Object.values(filter).some((wanted) => wanted !== undefined)
}

const FORMATS = {
  jsonl: {
    type: 'application/x-ndjson',
    header: '',
    line: (row: AuditBody) => `${JSON.stringify(row)}\n`,
  },
  csv: { type: 'text/csv; charset=utf-8; header=present', header: CSV_HEADER, line: auditCsvLine },
} as const

/** Whoever takes it away gets all of it or a connection that breaks off, never a part that looks whole. */
function exported(
  context: ApiContext,
  { key, session, orgId, input }: OrgCall<Asked>,
  format: 'jsonl' | 'csv',
): Reply {
  assertExport(input)
  const { store, feed, onError } = context
  const { header, line } = FORMATS[format]
  const filter = filterOf(input)
  return {
    respond: async (_request, response) => {
      if (response.destroyed) return
      const stream = feed.streams.open({ key, session }, () => response.destroy())
      response.on('close', stream.release)
      try {
        const slices = { after: input.after ?? 0, filter }
        for await (const rows of auditSlices({ store, turn: feed.streams.turn }, orgId, slices)) {
          if (!response.headersSent) {
            sendHeaders(response, orgId, format)
            response.write(header)
          }
          if (!stream.isOpen()) return
          response.write(rows.map((row) => line(auditBody(row))).join(''))
          await drained(response)
        }
        response.end()
      } catch (error) {
        if (!response.headersSent) {
          stream.release()
          throw error
        }
        onError(response, error, 'audit')
        response.destroy()
      }
    },
  }
}

function assertExport({ limit, before, order }: Asked): void {
  if (limit !== undefined) {
    throw new Refusal(
      'BAD_REQUEST',
      '"limit" is of pages: an export has every row. Leave it out, or give "after".',
    )
  }
  if (before === undefined && order !== 'newest') return
  throw new Refusal(
    'BAD_REQUEST',
    'An export begins with the oldest row. Leave out "before" and "order", or give "after".',
  )
}

function sendHeaders(response: ServerResponse, orgId: string, format: 'jsonl' | 'csv'): void {
  response.writeHead(200, {
    'content-type': FORMATS[format].type,
    'content-disposition': `attachment; filename="audit-${orgId}.${format}"`,
    'cache-control': 'no-store, no-transform',
  })
}
