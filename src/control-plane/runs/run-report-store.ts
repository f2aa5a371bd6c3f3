// What the control plane keeps of the runs that tool servers tell of. Nothing is decided by it.

export interface ReportedRun {
  readonly runId: string
  readonly agent: string
  readonly caller: string
  readonly status: string
  readonly code: string | null
  readonly createdAtMs: number
  readonly changedAtMs: number
}

export interface ReportedRunRecord extends ReportedRun {
  /** The key that told of it last: its runs are told by nobody else. */
  readonly keyId: string
  readonly replica: string
  /** When it was last told of. */
  readonly reportedAtMs: number
}

export type StepDetail = Readonly<Record<string, string | number | boolean | null>>

export interface ReportedStep {
  readonly runId: string
  readonly seq: number
  readonly atMs: number
  readonly type: string
  readonly detail: StepDetail
}

export interface ReportedEffect {
  /** The idempotency key. */
  readonly id: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  readonly runId: string | null
  readonly callId: string | null
  readonly changedAtMs: number
}

export interface ReportedEffectRecord extends ReportedEffect {
  readonly replica: string
  readonly reportedAtMs: number
}

export interface RunReport {
  readonly orgId: string
  readonly keyId: string
  readonly replica: string
  readonly atMs: number
  /** The keys whose runs and effects this one may go on telling of, itself among them. */
  readonly ownerKeyIds: readonly string[]
  readonly runs: readonly ReportedRun[]
  readonly steps: readonly ReportedStep[]
  /** Replace what the replica said before. Undefined: as before. */
  readonly unknownEffects?: readonly ReportedEffect[] | undefined
}

/** How much is kept. Of each key, so that none can push out what another told of. */
export interface RunReportLimits {
  readonly runsOfKey: number
  readonly stepsOfRun: number
  readonly effectsOfKey: number
}

export const RUN_REPORT_LIMITS: RunReportLimits = {
  runsOfKey: 20_000,
  stepsOfRun: 2000,
  effectsOfKey: 10_000,
}

export interface RunReportStore {
  /**
   * One transaction. A run that another key told of is left alone, and a state older than the one that is kept; a step of
   * a run that is not there or not the key's is dropped; one that was told before is kept once.
   */
  recordRuns(report: RunReport, limits?: RunReportLimits): Promise<void>
  /** The keys that told of these runs, or of unknown effects of a replica of that name. */
  runOwners(
    orgId: string,
    of: { readonly runIds: readonly string[]; readonly replica: string },
  ): Promise<readonly string[]>
  /** Newest first, from the first after `after`. */
  listReportedRuns(
    orgId: string,
    filter: { readonly status?: string | undefined; readonly agent?: string | undefined },
    page: {
      readonly after?: Pick<ReportedRun, 'createdAtMs' | 'runId'> | undefined
      readonly limit: number
    },
  ): Promise<readonly ReportedRunRecord[]>
  /** Its steps in their order. */
  findReportedRun(
    orgId: string,
    runId: string,
  ): Promise<{ readonly run: ReportedRunRecord; readonly steps: readonly ReportedStep[] } | undefined>
  /** Told by replicas with a sign of life since `heardSinceMs`; of one key each once, oldest first, up to `limit`. */
  listUnknownEffects(
    orgId: string,
    heardSinceMs: number,
    limit: number,
  ): Promise<readonly ReportedEffectRecord[]>
  /** Deletes up to `limit` runs, with their steps, that were last told of before `runsBeforeMs`, and old effects. */
  pruneRunReports(
    before: { readonly runsBeforeMs: number; readonly heardBeforeMs: number },
    limit: number,
  ): Promise<number>
}
