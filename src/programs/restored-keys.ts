import { join } from 'node:path'

import { createService } from '../control-plane/service.ts'
import type { ControlPlaneStore } from '../control-plane/store.ts'
import { PATHS } from '../machineid/paths.ts'
import { giveToDirectoryOwner, timeInName } from '../store/sqlite/files.ts'
import type { CommandContext } from './backup.ts'
import { renewSecrets } from './renew-secrets.ts'
import { operatorFile, readSecrets, toolServerFile, writeSecret } from './secrets.ts'

export const KEYS_WORK_AGAIN = `Keys that were burned after the backup WORK AGAIN. Burn each of them before anything else: POST ${PATHS.keys}/ID/burn
Whoever holds one of kind admin or full can enable the org.`

const NEXT_STEPS = `Next, start the control plane where it is not running, and for each org, with its new admin key:
  1. Look at GET ${PATHS.audit}, ${PATHS.list} and ${PATHS.locks}. What was stopped after the backup is not in them: revoke and lock it again.
  2. Issue new keys to whoever needs one: POST ${PATHS.keys}
  3. Enable the org: POST ${PATHS.orgEnable} with ifEpoch, which is org.epoch in GET ${PATHS.usage}`

/** Every key has ended; so whoever runs this gets one for each org, and somebody can go on. */
export async function handOutKeys(store: ControlPlaneStore, { dataDir, say }: CommandContext): Promise<void> {
  const service = createService({ store, onDecisionsLost: () => {} })
  const admins = new Map<string, string>()
  for await (const orgId of orgsOf(store)) {
    admins.set(orgId, (await service.issueKey({ orgId, kind: 'admin', name: 'restored' })).key)
  }
  const keysFile = join(dataDir, `restored-admin-keys-${timeInName(service.nowMs())}.json`)
  writeSecret(keysFile, Object.fromEntries(admins))
  giveToDirectoryOwner(keysFile)
  say(
    'Every org is disabled, and every key has ended, so that none that was burned after the backup works again.\n' +
      `New admin keys, one for each org, are in ${keysFile}. Hand them out, then delete it.`,
  )
  const orgId = await orgOfFiles(store, dataDir, [...admins.keys()])
  const admin = admins.get(orgId ?? '')
  if (orgId !== undefined && admin !== undefined) {
    await renewSecrets({ dataDir, store, service, orgId, admin })
    for (const file of [operatorFile(dataDir), toolServerFile(dataDir)]) giveToDirectoryOwner(file)
    say(
      `New keys of ${orgId}, for npx holdpoint start, are in ${operatorFile(dataDir)} and ${toolServerFile(dataDir)}.`,
    )
  }
  say(NEXT_STEPS)
}

const ORGS_AT_ONCE = 1000

async function* orgsOf(store: ControlPlaneStore): AsyncGenerator<string, void, void> {
  let page
  do {
    page = await store.listOrgs({ after: page?.at(-1) ?? '', limit: ORGS_AT_ONCE })
    yield* page
  } while (page.length === ORGS_AT_ONCE)
}

/** The org that the secrets of `npm start` are for; where they got lost, the one that no request has made. */
async function orgOfFiles(
  store: ControlPlaneStore,
  dataDir: string,
  orgIds: readonly string[],
): Promise<string | undefined> {
  const { operator, toolServer } = readSecrets(dataDir)
  const named = operator?.orgId ?? toolServer?.orgId
  if (named !== undefined) return named
  for (const orgId of orgIds) {
    const [first] = await store.listAudit(orgId, { after: 0, limit: 1 })
    if (first?.actor === 'local') return orgId
  }
  return undefined
}
