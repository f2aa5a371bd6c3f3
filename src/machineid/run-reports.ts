import type { z } from 'zod'

import { manage, type Result } from './management.ts'
import { PATHS } from './paths.ts'
import type { Connection } from './profile.ts'
import { RunReportResponse, type RunReportBody } from './wire-runs.ts'

export type RunReport = Omit<RunReportBody, 'replica'>

/** Where a tool server tells of the runs that it hosts. Never rejects. */
export interface RunReports {
  /** At most 100 runs, 500 steps and 100 effects, in `MAX_RUN_REPORT_BODY_BYTES`. `timeoutMs`: default the client's. */
  report(
    report: RunReport,
    options?: { readonly timeoutMs?: number | undefined },
  ): Promise<Result<z.output<typeof RunReportResponse>>>
}

/** What the body has beside the report, in bytes, at most. */
export const REPORT_FRAME_BYTES = 2048

/** `replica`: the name of this process, as operators see it. */
export function createRunReports(
  connection: Connection,
  { replica, timeoutMs: ownTimeoutMs }: { readonly replica: string; readonly timeoutMs: number },
): RunReports {
  return {
    report: (report, { timeoutMs = ownTimeoutMs } = {}) =>
      manage(connection, {
        method: 'POST',
        path: PATHS.runsReport,
        body: { replica, ...report },
        schema: RunReportResponse,
        timeoutMs,
        // A run is told as it is, and a step by its number: twice is once.
        retry: true,
      }),
  }
}
