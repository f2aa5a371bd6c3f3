import type { AuditRow } from '../records.ts'

/** For a while no question that names this canary is answered. */
export interface CanaryCut {
  readonly orgId: string
  readonly deviceId: string
  /** Wall-clock milliseconds; one that has passed ends it. */
  readonly untilMs: number
}

/** The cut that a row of the audit is: so every node hears of it. */
export function cutOf({ action, orgId, deviceId, after }: AuditRow): CanaryCut | undefined {
  if (action !== 'drill.cut' || deviceId === null) return undefined
  const untilMs = Date.parse(String((after as { until?: unknown } | null)?.until))
  return Number.isNaN(untilMs) ? undefined : { orgId, deviceId, untilMs }
}

/** A device that does no work: `{service}:{env}:canary:{instance}`. */
export function isCanary(deviceId: string): boolean {
  return deviceId.split(':')[2] === 'canary'
}
