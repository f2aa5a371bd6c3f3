import type { Server } from 'node:http'

import { openConnections } from '../http.ts'
import type { LaneReport } from '../metrics.ts'
import type { LagMeter } from './lag.ts'
import type { RateLimited } from './limits.ts'

const EVERY_MS = 1000

export interface LaneReporter {
  readonly limited: (scope: RateLimited) => void
  readonly shed: () => void
  readonly dropped: () => void
}

/** Counts what a lane refuses, and reports it each second while the lane's server listens. */
export function createLaneReporter(options: {
  readonly lane: string
  readonly server: Server
  /** Started and stopped with the server. */
  readonly lag: LagMeter
  readonly onReport?: ((report: LaneReport) => void) | undefined
}): LaneReporter {
  const { lane, server, lag, onReport } = options
  let counts = noCounts()
  let timer: NodeJS.Timeout | undefined
  const report = () => {
    onReport?.({ lane, lagMs: lag.takeMaxMs(), connections: openConnections(server), ...counts })
    counts = noCounts()
  }
  server.on('listening', () => {
    lag.start()
    timer ??= setInterval(report, EVERY_MS).unref()
  })
  server.on('close', () => {
    clearInterval(timer)
    lag.stop()
    report()
  })
  const dropped = () => void counts.dropped++
  server.on('drop', dropped)
  return {
    limited: (scope) => void (counts.rateLimited[scope] = (counts.rateLimited[scope] ?? 0) + 1),
    shed: () => void counts.shed++,
    dropped,
  }
}

function noCounts() {
  return { dropped: 0, shed: 0, rateLimited: {} as Partial<Record<RateLimited, number>> }
}
