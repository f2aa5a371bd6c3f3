import { endedByRestore } from '../control-plane/generation.ts'
import type { IssuedKey } from '../control-plane/key-service.ts'
import type { ControlPlaneService } from '../control-plane/service.ts'
import type { ControlPlaneStore } from '../control-plane/store.ts'
import type { KeyKind } from '../machineid/wire.ts'
import { newCallerToken } from '../tool-server/callers.ts'
import {
  completeSecrets,
  FIRST_BINDINGS,
  newPlatformToken,
  operatorFile,
  readSecrets,
  toolServerFile,
  writeSecret,
} from './secrets.ts'

/**
 * New keys in the two files, which are made when they are not there, for those that a restore has just ended. One that
 * had ended before stays as it is, and so does what else is in the files.
 */
export async function renewSecrets(options: {
  readonly dataDir: string
  readonly store: ControlPlaneStore
  readonly service: ControlPlaneService
  readonly orgId: string
  /** Its new admin key. */
  readonly admin: string
}): Promise<void> {
  const { dataDir, store, service, orgId } = options
  const { operator, toolServer } = readSecrets(dataDir)
  const renewed = async (key: string | undefined, first: () => Promise<IssuedKey>) => {
    const held = key === undefined ? undefined : await service.findKey(key)
    if (key === undefined || held === undefined) return (await first()).key
    if (held.orgId !== orgId || !(await endedByRestore(store, held))) return key
    const { kind, bindings, name } = held
    return (await service.issueKey({ orgId, kind, bindings: bindings ?? undefined, name: name ?? undefined }))
      .key
  }
  const issue = (kind: KeyKind, bindings?: readonly string[]) => () =>
    service.issueKey({ orgId, kind, bindings })
  const renewedToolServer = {
    ...toolServer,
    orgId,
    runtime: await renewed(toolServer?.runtime, issue('runtime', FIRST_BINDINGS)),
    callerToken: toolServer?.callerToken ?? newCallerToken(),
  }
  writeSecret(toolServerFile(dataDir), renewedToolServer)
  const renewedOperator = {
    ...operator,
    orgId,
    viewer: await renewed(operator?.viewer, issue('viewer')),
    stop: await renewed(operator?.stop, issue('stop')),
    operator: await renewed(operator?.operator, issue('operator')),
    admin: options.admin,
    platformToken: operator?.platformToken ?? newPlatformToken(),
  }
  writeSecret(operatorFile(dataDir), renewedOperator)
  completeSecrets(dataDir, renewedOperator, renewedToolServer)
}
