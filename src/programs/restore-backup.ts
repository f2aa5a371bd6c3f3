import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

import { createService } from '../control-plane/service.ts'
import type { ControlPlaneStore } from '../control-plane/store.ts'
import { PATHS } from '../machineid/paths.ts'
import { openControlPlaneStore } from '../store/sqlite/control-plane.ts'
import { timeInName } from '../store/sqlite/files.ts'
import { restoreBackup } from '../store/sqlite/restore-backup.ts'
import type { CommandContext } from './backup.ts'
import { databaseFile } from './database-file.ts'
import { renewSecrets } from './renew-secrets.ts'
import { operatorFile, readSecrets, toolServerFile, writeSecret } from './secrets.ts'

const USAGE = `Usage: npm run restore-backup -- FILE [--keep-keys]

FILE is what the backup command has written. Stop the control plane first. Every org is disabled, and every key ends: each
org gets a new admin key, in a file beside the database.

  --keep-keys  every key of the backup works on, also one that was burned after the backup was made`

const KEYS_KEPT = `When the control plane starts, every org is disabled.
Keys that were burned after the backup WORK AGAIN. Burn each of them before anything else: POST ${PATHS.keys}/ID/burn
Whoever holds one of kind admin or full can enable the org.`

const NEXT_STEPS = `Next, start the control plane, and for each org, with its new admin key:
  1. Look at GET ${PATHS.audit}, ${PATHS.list} and ${PATHS.locks}. What was stopped after the backup is not in them: revoke and lock it again.
  2. Issue new keys to whoever needs one: POST ${PATHS.keys}
  3. Enable the org: POST ${PATHS.orgEnable} with ifEpoch, which is org.epoch in GET ${PATHS.usage}`

/**
 * `restore-backup FILE [--keep-keys]`: puts a backup in the place of the control plane's database. Answers the exit
 * status.
 */
export async function runRestoreBackup(args: readonly string[], context: CommandContext): Promise<number> {
  const { dataDir, say, note } = context
  const asked = askedOf(args)
  if (asked === undefined) {
    note(USAGE)
    return 2
  }
  const { backup, keepKeys } = asked
  // They will be written anew; what is wrong with them is told before anything is moved.
  readSecrets(dataDir)
  const file = databaseFile(dataDir)
  const { movedTo } = await restoreBackup({ backup, file, keepKeys })
  say(`Restored ${file} from ${backup}.`)
  if (movedTo !== undefined) say(`The database that was there is now ${movedTo}.`)
  if (keepKeys) say(KEYS_KEPT)
  else await endKeys(file, context)
  return 0
}

function askedOf(
  args: readonly string[],
): { readonly backup: string; readonly keepKeys: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { 'keep-keys': { type: 'boolean', default: false } },
    })
    const [backup, ...others] = positionals
    if (backup === undefined || others.length > 0) return undefined
    return { backup, keepKeys: values['keep-keys'] }
  } catch {
    return undefined
  }
}

/** Opening the store ends every key; then whoever runs this gets one for each org, so that somebody can go on. */
async function endKeys(file: string, { dataDir, say }: CommandContext): Promise<void> {
  const store = openControlPlaneStore({ file })
  try {
    const service = createService({ store, onDecisionsLost: () => {} })
    const admins = new Map<string, string>()
    for await (const orgId of orgsOf(store)) {
      admins.set(orgId, (await service.issueKey({ orgId, kind: 'admin', name: 'restored' })).key)
    }
    const keysFile = join(dirname(file), `restored-admin-keys-${timeInName(service.nowMs())}.json`)
    writeSecret(keysFile, Object.fromEntries(admins))
    say(
      'Every org is disabled, and every key has ended, so that none that was burned after the backup works again.\n' +
        `New admin keys, one for each org, are in ${keysFile}. Hand them out, then delete it.`,
    )
    const orgId = await orgOfFiles(store, dataDir, [...admins.keys()])
    const admin = admins.get(orgId ?? '')
    if (orgId !== undefined && admin !== undefined) {
      await renewSecrets({ dataDir, store, service, orgId, admin })
      say(
        `New keys of ${orgId}, for npm start, are in ${operatorFile(dataDir)} and ${toolServerFile(dataDir)}.`,
      )
    }
    say(NEXT_STEPS)
  } finally {
    await store.close()
  }
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
