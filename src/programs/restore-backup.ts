import { parseArgs } from 'node:util'

import { openControlPlaneStore } from '../store/sqlite/control-plane.ts'
import { restoreBackup } from '../store/sqlite/restore-backup.ts'
import type { CommandContext } from './backup.ts'
import { databaseFile } from './database-file.ts'
import { restoreDatabase } from './restore-database.ts'
import { handOutKeys, KEYS_WORK_AGAIN } from './restored-keys.ts'
import { readSecrets } from './secrets.ts'

const USAGE = `Usage: npx holdpoint restore-backup FILE [--keep-keys]

FILE is what the backup command has written. Stop the control plane first. Every org is disabled, and every key ends: each
org gets a new admin key, in a file beside the database.

  --keep-keys  every key of the backup works on, also one that was burned after the backup was made`

const KEYS_KEPT = `When the control plane starts, every org is disabled.
${KEYS_WORK_AGAIN}`

/**
 * `restore-backup FILE [--keep-keys]`: puts a backup in the place of the control plane's database. Answers the exit
 * status.
 */
export async function runRestoreBackup(args: readonly string[], context: CommandContext): Promise<number> {
  const { dataDir, database, say, note } = context
  if (database !== undefined) return restoreDatabase(args, context, database)
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
  else await openAndHandOut(file, context)
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

/** Opening the store ends every key. */
async function openAndHandOut(file: string, context: CommandContext): Promise<void> {
  const store = openControlPlaneStore({ file })
  try {
    await handOutKeys(store, context)
  } finally {
    await store.close()
  }
}
