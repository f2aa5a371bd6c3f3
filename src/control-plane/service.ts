import type { Clock } from '../clock.ts'
import { systemClock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { createApprovalService, type ApprovalService } from './approvals/approval-service.ts'
import { createBatchService, type BatchService } from './batches.ts'
import { createChanging, type Changing } from './change.ts'
import { logChanges } from './change-log.ts'
import type { DecisionCounts } from './decision-batch.ts'
import { createDecisionLog, type DecisionLog } from './decision-log.ts'
import { createDeviceService, type DeviceService } from './devices.ts'
import { uuidv7 } from './ids.ts'
import { createDrillKeyService, type DrillKeyService } from './drills/drill-keys.ts'
import { createDrillService, type DrillService } from './drills/drill-service.ts'
import { createKeyService, type KeyService } from './key-service.ts'
import { createLockService, type LockService } from './locks.ts'
import { createPatience } from './nodes/patiently.ts'
import { createOrgService, type OrgService } from './orgs.ts'
import { createOwnerService, type OwnerService } from './owners.ts'
import type { AuditRow, DecisionRecord, KeyRecord } from './records.ts'
import { createRecoveryLinkService, type RecoveryLinkService } from './recovery-links.ts'
import { createRunReportService, type RunReportService } from './runs/run-report-service.ts'
import { createSessionService, type SessionService } from './sessions/session-service.ts'
import type { ControlPlaneStore } from './store.ts'

/** Who asks for a change: a key, the holder of the platform token or of a recovery link, or this process itself. */
export interface Caller {
  /** A key id, `platform`, `recovery` or `local`. */
  readonly actor: string
  readonly kind: KeyRecord['kind'] | 'platform' | 'recovery' | 'local'
  /** Of a key: it is looked at again in the transaction. */
  readonly keyId?: string | undefined
  /** Of a session: so is that. */
  readonly sessionId?: string | undefined
  readonly requestId: string | null
  /** The address it asks from. */
  readonly origin: string | null
}

/** What every part of the service works with. */
export interface ServiceContext extends Changing {
  readonly store: ControlPlaneStore
  readonly nowMs: () => number
  readonly newId: () => string
}

export interface ControlPlaneService
  extends
    OrgService,
    DeviceService,
    BatchService,
    LockService,
    KeyService,
    OwnerService,
    RecoveryLinkService,
    SessionService,
    ApprovalService,
    RunReportService,
    DrillService,
    DrillKeyService {
  readonly decisions: DecisionLog
  /** A new UUIDv7, for a request or a record. */
  readonly newId: () => string
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
}

export interface ServiceOptions {
  readonly store: ControlPlaneStore
  /** Told when decisions could not be stored. */
  readonly onDecisionsLost: (error: unknown, decisions: number) => void
  readonly clock?: Clock | undefined
  /** Gets one line for each change of what is allowed, once it is durable. */
  readonly log?: Logger | undefined
  /** Stores allows too. Default false: denials only. */
  readonly recordAllows?: boolean | undefined
  /** Told after COMMIT. */
  readonly onCommitted?: ((rows: readonly AuditRow[]) => void) | undefined
  readonly onDecisions?: ((decisions: readonly DecisionRecord[]) => void) | undefined
  /** Told how many decisions were made, stored or not. */
  readonly onCounted?: ((counts: DecisionCounts) => void) | undefined
}

/** The transactions of the control plane, without HTTP. Nothing is remembered between calls. */
export function createService(options: ServiceOptions): ControlPlaneService {
  const { context, decisions } = createServiceContext(options)
  const { newId, nowMs } = context
  const links = createRecoveryLinkService(context)
  return {
    decisions,
    newId,
    nowMs,
    ...createOrgService(context),
    ...createDeviceService(context),
    ...createBatchService(context),
    ...createLockService(context),
    ...createKeyService(context),
    ...createOwnerService(context),
    ...links,
    ...createSessionService(context, links),
    ...createApprovalService(context),
    ...createRunReportService(context),
    ...createDrillService(context),
    ...createDrillKeyService(context),
  }
}

function createServiceContext(options: ServiceOptions): {
  readonly context: ServiceContext
  readonly decisions: DecisionLog
} {
  const {
    store,
    clock = store.shared?.clock ?? systemClock,
    log,
    onCommitted,
    onDecisions,
    recordAllows = false,
  } = options
  const nowMs = () => Math.floor(clock.now().wallMs)
  const newId = () => uuidv7(nowMs())
  const patiently = createPatience()
  const decisions = createDecisionLog({
    write: async (batch) => {
      options.onCounted?.(batch.rates)
      const record = () => store.recordDecisions(batch)
      await (store.shared === undefined ? record() : patiently(record))
      onDecisions?.(batch.decisions)
    },
    nowMs,
    recordAllows,
    onLost: options.onDecisionsLost,
  })
  const changing = createChanging({
    store,
    nowMs,
    newId,
    onCommitted: (rows) => {
      if (log !== undefined) logChanges(log, rows)
      onCommitted?.(rows)
    },
  })
  return { decisions, context: { ...changing, store, nowMs, newId } }
}
