import {
  MAX_RUN_REPORT_BODY_BYTES,
  RunQuery,
  RunReportRequest,
  RunReportResponse,
  RunResponse,
  RunsQuery,
  RunsResponse,
  UnknownEffectsQuery,
  UnknownEffectsResponse,
  type RunRowBody,
} from '../../machineid/wire-runs.ts'
import { PATHS } from '../../machineid/paths.ts'
import { orgRoute, type ApiContext, type Route } from '../api-route.ts'
import { MAY_SEE } from '../key-kinds.ts'
import { notACursor, Refusal } from '../refusal.ts'
import type { ReportedRunRecord } from './run-report-store.ts'

const PAGE_RUNS = 100
const CURSOR = /^(-?\d{1,16})\.(.{1,128})$/su

/** What tool servers tell of the runs that they host, for people to look at. Nothing is decided by it. */
export function runRoutes(context: ApiContext): Route[] {
  // What has a name of its own comes before what has an id.
  return [reportRoute(context), listRoute(context), unknownRoute(context), runRoute(context)]
}

function reportRoute(context: ApiContext): Route {
  return orgRoute(context, ['runtime', 'full'], {
    method: 'post',
    path: PATHS.runsReport,
    handler: 'runs/report',
    summary: 'Tells of the runs that a replica hosts; idempotent',
    input: RunReportRequest,
    output: RunReportResponse,
    evidence: true,
    bodyLimitBytes: MAX_RUN_REPORT_BODY_BYTES,
    run: async ({ input, key, orgId }) => {
      await context.service.reportRuns(orgId, key.keyId, input)
      return { body: { orgId } }
    },
  })
}

function listRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.runs,
    handler: 'runs/list',
    summary: 'Lists the runs that tool servers told of, newest first',
    input: RunsQuery,
    output: RunsResponse,
    run: async ({ input: { status, agent, limit = PAGE_RUNS, cursor }, orgId }) => {
      const after = cursor === undefined ? undefined : placeOf(cursor)
      // One more than the page, to know whether there is a next one.
      const found = await context.service.listReportedRuns(
        orgId,
        { status, agent },
        { after, limit: limit + 1 },
      )
      const runs = found.slice(0, limit)
      const last = runs.length < found.length ? runs.at(-1) : undefined
      const nextCursor = last === undefined ? null : `${last.createdAtMs}.${last.runId}`
      return { body: { orgId, runs: runs.map(runBody), nextCursor } }
    },
  })
}

function runRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.run,
    handler: 'runs/show',
    summary: 'Shows one run, and its steps in their order',
    input: RunQuery,
    output: RunResponse,
    refusals: ['NOT_FOUND'],
    run: async ({ id, orgId }) => {
      const found = await context.service.findReportedRun(orgId, id)
      if (found === undefined) throw noSuchRun()
      const steps = found.steps.map(({ atMs, type, detail }) => ({ at: iso(atMs), type, detail }))
      return { body: { orgId, run: runBody(found.run), steps } }
    },
  })
}

function unknownRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.unknownEffects,
    handler: 'runs/unknown',
    summary: 'Lists effects of which nobody can tell whether they happened, oldest first',
    input: UnknownEffectsQuery,
    output: UnknownEffectsResponse,
    run: async ({ orgId }) => {
      const found = await context.service.listUnknownEffects(orgId)
      const effects = found.map(({ changedAtMs, reportedAtMs, ...effect }) => ({
        ...effect,
        changedAt: iso(changedAtMs),
        reportedAt: iso(reportedAtMs),
      }))
      return { body: { orgId, effects } }
    },
  })
}

function runBody(run: ReportedRunRecord): RunRowBody {
  const { runId, agent, caller, status, code, createdAtMs, changedAtMs, replica } = run
  return {
    runId,
    agent,
    caller,
    status,
    code,
    createdAt: iso(createdAtMs),
    changedAt: iso(changedAtMs),
    replica,
  }
}

function placeOf(cursor: string) {
  const [, createdAtMs, runId] = CURSOR.exec(cursor) ?? []
  if (createdAtMs === undefined || runId === undefined) throw notACursor()
  return { createdAtMs: Number(createdAtMs), runId }
}

function noSuchRun(): Refusal {
  return new Refusal(
    'NOT_FOUND',
    `No tool server told of such a run, or it was so long ago that it is forgotten. See GET ${PATHS.runs}.`,
  )
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString()
}
