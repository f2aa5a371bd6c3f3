import { parseArgs } from 'node:util'

import { createLogger } from '../log.ts'
import { openControlPlaneStore } from '../store/postgres/control-plane.ts'
import { tellStore } from '../store/postgres/enter.ts'
import { seenFileIn } from '../store/postgres/seen-file.ts'
import type { CommandContext, CommandDatabase } from './backup.ts'
import { handOutKeys, KEYS_WORK_AGAIN } from './restored-keys.ts'
import { readSecrets } from './secrets.ts'

const USAGE = `Usage, with DATABASE_URL: npx holdpoint restore-backup [--keep-keys | --nothing-lost]

Restore the database first, with the tools of Postgres, and run this before any control plane uses it. Every org is
disabled, and every key ends: each org gets a new admin key, in a file in DATA_DIR. A control plane that finds out by
itself that its database was restored does the same, and writes no keys: then run this, too.

  --keep-keys     every key of the backup works on, also one that was burned after the backup was made
  --nothing-lost  it was not restored, it only moved, with every commit: after pg_upgrade, or a switchover in good order
                  to a standby that had everything. Nothing is stopped`

/** The command for a database that several nodes share. Answers the exit status. */
export async function restoreDatabase(
  args: readonly string[],
  context: CommandContext,
  database: CommandDatabase,
): Promise<number> {
  const { dataDir, say, note } = context
  // So that no generation is given twice, also of two restores of one dump.
  const here = { ...database, seenFile: seenFileIn(dataDir) }
  const asked = askedOf(args)
  if (asked === undefined) {
    note(USAGE)
    return 2
  }
  if (asked.nothingLost) {
    await tellStore(here, 'nothing lost')
    say('Noted: the database is where it is, and nothing was lost. Control planes go on as they were.')
    return 0
  }
  // They will be written anew; what is wrong with them is told before anything is changed.
  readSecrets(dataDir)
  if (!(await tellStore(here, { restored: asked }))) {
    note('The database holds no org. Does DATABASE_URL lead to the one that was restored?')
    return 1
  }
  const log = createLogger({ level: 'silent' })
  const store = await openControlPlaneStore({ ...here, log, poolSize: 2, consistency: 'primary' })
  try {
    say(`Generation ${store.generation} has begun.`)
    if (asked.keepKeys) say(`Every org is disabled.\n${KEYS_WORK_AGAIN}`)
    else await handOutKeys(store, context)
  } finally {
    await store.close()
  }
  return 0
}

function askedOf(
  args: readonly string[],
): { readonly keepKeys: boolean; readonly nothingLost: boolean } | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        'keep-keys': { type: 'boolean', default: false },
        'nothing-lost': { type: 'boolean', default: false },
      },
    })
    const { 'keep-keys': keepKeys, 'nothing-lost': nothingLost } = values
    return keepKeys && nothingLost ? undefined : { keepKeys, nothingLost }
  } catch {
    return undefined
  }
}
