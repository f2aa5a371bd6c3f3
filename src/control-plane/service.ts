import type { Clock } from '../clock.ts'
import { systemClock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { logChanges } from './change-log.ts'
import { createDenialLog, type DenialLog } from './denials.ts'
import { createDeviceService, type DeviceService } from './devices.ts'
import { uuidv7 } from './ids.ts'
import { createOrgService, type OrgService } from './orgs.ts'
import type { AuditEntry, ControlPlaneStore, KeyRecord } from './store.ts'

/** Who asks for a change: a key, the holder of the platform token, or this process itself. */
export interface Caller {
  /** A key id, `platform` or `local`. */
  readonly actor: string
  readonly kind: KeyRecord['kind'] | 'platform' | 'local'
  readonly requestId: string
}

/** What every part of the service works with. */
export interface ServiceContext {
  readonly store: ControlPlaneStore
  readonly denials: DenialLog
  readonly nowMs: () => number
  readonly newId: () => string
  readonly audit: (
    caller: Caller,
    action: string,
    details?: Pick<AuditEntry, 'deviceId' | 'reason' | 'before' | 'after'>,
  ) => AuditEntry
}

export interface ControlPlaneService extends OrgService, DeviceService {
  readonly denials: DenialLog
  /** A new UUIDv7, for a request or a record. */
  readonly newId: () => string
}

/** The transactions of the control plane, without HTTP. Nothing is remembered between calls. */
export function createService(options: {
  readonly store: ControlPlaneStore
  /** Told when denials could not be stored. */
  readonly onDenialsLost: (error: unknown, denials: number) => void
  readonly clock?: Clock | undefined
  /** Gets one line for each change of what is allowed, once it is durable. */
  readonly log?: Logger | undefined
}): ControlPlaneService {
  const { store, onDenialsLost, clock = systemClock, log } = options
  const nowMs = () => Math.floor(clock.now().wallMs)
  const newId = () => uuidv7(nowMs())
  const denials = createDenialLog({
    write: (batch) => store.recordDenials(batch),
    nowMs,
    onLost: onDenialsLost,
  })
  const context: ServiceContext = {
    store: log === undefined ? store : logChanges(store, log),
    denials,
    nowMs,
    newId,
    audit: ({ actor, kind, requestId }, action, details) => ({
      id: newId(),
      atMs: nowMs(),
      actor,
      actorKind: kind,
      requestId,
      action,
      ...details,
    }),
  }
  return { denials, newId, ...createOrgService(context), ...createDeviceService(context) }
}
