import type { Logger } from '../log.ts'
import type { AuditEntry, Change, ControlPlaneStore } from './store.ts'

/** What a person may want to see happen, by the action of the audit row. Other changes have only that row. */
const MESSAGES: Readonly<Record<string, string>> = {
  'device.revoke': 'device revoked',
  'device.unrevoke': 'device restored',
  'device.restore_removed': 'device restored',
  'device.remove': 'device removed',
  'org.disable': 'org disabled',
  'org.enable': 'org enabled',
  'org.plan': 'plan changed',
  'org.create': 'org created',
}

/**
 * The same store, which also logs one line per stop, restore and change of an org: after COMMIT (G5), never for
 * what was refused or could not be stored.
 */
export function logChanges(store: ControlPlaneStore, log: Logger): ControlPlaneStore {
  const logged = async <S, T>(
    orgId: string,
    decide: (found: S) => Change<T>,
    commit: (noted: (found: S) => Change<T>) => Promise<T>,
  ): Promise<T> => {
    // A store may ask again, when it had to begin the transaction anew: only the last answer was written.
    let last = undefined as Change<T> | undefined
    const result = await commit((found) => (last = decide(found)))
    if (last?.audit !== undefined) tell(log, orgId, last.audit, last.org?.epoch)
    return result
  }
  return {
    ...store,
    changeOrg: (orgId, decide) => logged(orgId, decide, (noted) => store.changeOrg(orgId, noted)),
    changeDevice: (orgId, deviceId, decide) =>
      logged(orgId, decide, (noted) => store.changeDevice(orgId, deviceId, noted)),
  }
}

function tell(log: Logger, orgId: string, audit: AuditEntry, epoch: number | undefined): void {
  const message = MESSAGES[audit.action]
  if (message === undefined) return
  const { actor, actorKind = actor, deviceId, reason, requestId } = audit
  log.info(
    {
      ...(deviceId !== undefined && { device_id: deviceId }),
      org_id: orgId,
      epoch,
      actor: actorKind === actor ? actor : `${actorKind}:${actor}`,
      ...(reason !== undefined && { reason }),
      ...(requestId !== undefined && requestId !== '' && { request_id: requestId }),
    },
    message,
  )
}
