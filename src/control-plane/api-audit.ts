import type { ServerResponse } from 'node:http'

import {
  AuditQuery,
  AuditResponse,
  AuditRowBody,
  AuditVerifyQuery,
  AuditVerifyResponse,
} from '../machineid/wire-evidence.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, type ApiContext, type OrgCall, type Reply, type Route } from './api-route.ts'
import { auditSlices, verifyChain } from './audit-slices.ts'
import { drained } from '../drained.ts'
import { auditBody } from './evidence-rows.ts'
import { MAY_READ_EVIDENCE } from './key-kinds.ts'
import { Refusal } from './refusal.ts'

const PAGE_ROWS = 100

/** The chain of what was changed: to be read, taken away, and verified. */
export function auditRoutes(context: ApiContext): Route[] {
  const { store, feed } = context
  const reading = { store, turn: feed.streams.turn }
  return [
    orgRoute(context, MAY_READ_EVIDENCE, {
      method: 'get',
      path: PATHS.audit,
      handler: 'audit',
      summary: 'Lists the audit chain from its first row on, or exports it as JSON lines',
      input: AuditQuery,
      output: AuditResponse,
      lines: AuditRowBody,
      refusals: ['TOO_MANY_STREAMS', 'OVERLOADED'],
      run: async (call) => {
        const { after = 0, limit = PAGE_ROWS, format = 'json' } = call.input
        if (format === 'jsonl') return exported(context, call)
        // One more than the page, to know whether there is a next one.
        const found = await store.listAudit(call.orgId, { after, limit: limit + 1 })
        const rows = found.slice(0, limit)
        const nextAfter = rows.length < found.length ? (rows.at(-1)?.seq ?? null) : null
        return { body: { orgId: call.orgId, rows: rows.map(auditBody), nextAfter } }
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
      run: async ({ input: { seq, hash }, key, orgId }) => {
        if ((seq === undefined) !== (hash === undefined)) throw halfNoted()
        const noted = seq === undefined || hash === undefined ? undefined : { seq, hash }
        const stream = feed.streams.open(key, () => {})
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

/** Whoever takes it away gets all of it or a connection that breaks off, never a part that looks whole. */
function exported(
  context: ApiContext,
  call: OrgCall<{ after?: number | undefined; limit?: number | undefined }>,
): Reply {
  const { key, orgId, input } = call
  if (input.limit !== undefined) {
    throw new Refusal(
      'BAD_REQUEST',
      '"limit" is of pages: an export has every row. Leave it out, or give "after".',
    )
  }
  const { store, feed, onError } = context
  return {
    respond: async (_request, response) => {
      if (response.destroyed) return
      const stream = feed.streams.open(key, () => response.destroy())
      response.on('close', stream.release)
      try {
        for await (const rows of auditSlices({ store, turn: feed.streams.turn }, orgId, input.after ?? 0)) {
          if (!response.headersSent) sendHeaders(response, orgId)
          if (!stream.isOpen()) return
          const lines = rows.map((row) => `${JSON.stringify(auditBody(row))}\n`)
          response.write(lines.join(''))
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

function sendHeaders(response: ServerResponse, orgId: string): void {
  response.writeHead(200, {
    'content-type': 'application/x-ndjson',
    'content-disposition': `attachment; filename="audit-${orgId}.jsonl"`,
    'cache-control': 'no-store, no-transform',
  })
}
