import { Counter, Gauge, Registry } from 'prom-client'

/** What one lane tells of itself, about once a second: counts are those since the last time. */
export interface LaneReport {
  /** `agent-1`, … or `operator`. */
  readonly lane: string
  /** The most that its event loop was late. */
  readonly lagMs: number
  readonly connections: number
  /** Connections refused because there were too many. */
  readonly dropped: number
  /** Validates refused because an answer would have come too late. */
  readonly shed: number
  /** Calls refused because of a quota: of a key or an org on validates, or `calls` of any other kind. */
  readonly rateLimited: Readonly<Partial<Record<'key' | 'org' | 'calls', number>>>
}

/** The figures of one control plane. They hold no device, org or key: those are unbounded, and not for everyone. */
export interface AuthorityMetrics {
  readonly decided: (counts: ReadonlyMap<string, number>) => void
  readonly changed: (action: string) => void
  readonly decisionsLost: (count: number) => void
  readonly report: (report: LaneReport) => void
  readonly contentType: string
  /** In the text format of Prometheus. */
  readonly text: () => Promise<string>
}

/** A registry of its own: two control planes in one process do not share figures. */
export function createAuthorityMetrics(): AuthorityMetrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name: `holdpoint_authority_${name}`, help, labelNames, registers })
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name: `holdpoint_authority_${name}`, help, labelNames, registers })

  const decisions = counter('decisions_total', 'Decisions about devices, by code.', 'code')
  const changes = counter('changes_total', 'Changes committed, by action of the audit row.', 'action')
  const lost = counter('decisions_lost_total', 'Decisions that could not be stored.')
  const limited = counter('rate_limited_total', 'Calls refused because of a quota.', 'scope')
  const shed = counter('shed_total', 'Validates refused because an answer would have come too late.')
  const dropped = counter('connections_dropped_total', 'Connections refused, there were too many.', 'lane')
  const lag = gauge('event_loop_lag_seconds', 'How late the event loop of a lane was at most.', 'lane')
  const connections = gauge('connections', 'Open connections.', 'lane')

  return {
    decided: (counts) => {
      for (const [code, count] of counts) decisions.inc({ code }, count)
    },
    changed: (action) => changes.inc({ action }),
    decisionsLost: (count) => lost.inc(count),
    report: (report) => {
      const { lane } = report
      lag.set({ lane }, report.lagMs / 1000)
      connections.set({ lane }, report.connections)
      dropped.inc({ lane }, report.dropped)
      shed.inc(report.shed)
      for (const [scope, count] of Object.entries(report.rateLimited)) limited.inc({ scope }, count)
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
  }
}
