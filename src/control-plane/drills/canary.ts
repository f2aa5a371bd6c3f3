/** For a while no question that names this canary is answered. */
export interface CanaryCut {
  readonly orgId: string
  readonly deviceId: string
  /** Wall-clock milliseconds; one that has passed ends it. */
  readonly untilMs: number
}

/** A device that does no work: `{service}:{env}:canary:{instance}`. */
export function isCanary(deviceId: string): boolean {
  return deviceId.split(':')[2] === 'canary'
}
