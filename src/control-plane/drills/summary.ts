import type { DrillReportBody } from '../../machineid/wire-drills.ts'
import type { DrillSummary } from './drill-store.ts'

/** Of all steps the worst. */
export function summaryOf({ drillId, startedAt, held, target, steps }: DrillReportBody): DrillSummary {
  const measures = steps.flatMap((step) => step.measures)
  const ended = measures.flatMap((measure) => (measure.ended === null ? [] : [measure.ended.p99Ms]))
  return {
    drillId,
    startedAt,
    held,
    target: target.kind,
    endedP99Ms: ended.length === 0 ? null : Math.max(...ended),
    startedAfterAck: measures.reduce((sum, measure) => sum + measure.startedAfterAck, 0),
  }
}
