import { statSync } from 'node:fs'

import { backUp } from '../store/sqlite/backup.ts'
import { databaseFile } from './database-file.ts'

export interface CommandContext {
  readonly dataDir: string
  /** Undefined: everything is in a file of `dataDir`. */
  readonly database?: CommandDatabase | undefined
  /** The answer. */
  readonly say: (text: string) => void
  /** How far it is. */
  readonly note: (text: string) => void
}

export interface CommandDatabase {
  readonly url: string
  readonly timeoutMs: number
}

const WITH_POSTGRES = `With DATABASE_URL everything is in Postgres, whose own tools back it up: pg_dump for a copy of one moment, or base
backups with WAL archiving, which lose less. Do not copy the directory of a server that runs.
After a restore, and before any control plane uses the database: npx holdpoint restore-backup`

const PROGRESS_EVERY_MS = 1000

/** `backup FILE`: copies the control plane's database while it runs. Answers the exit status. */
export async function runBackup(
  args: readonly string[],
  { dataDir, database, say, note }: CommandContext,
): Promise<number> {
  if (database !== undefined) {
    note(WITH_POSTGRES)
    return 2
  }
  const [to, ...others] = args
  if (to === undefined || others.length > 0) {
    note('Usage: npx holdpoint backup FILE\nFILE must not exist yet. The control plane may be running.')
    return 2
  }
  const startedAtMs = performance.now()
  let notedAtMs = startedAtMs
  await backUp({
    from: databaseFile(dataDir),
    to,
    onProgress: (done) => {
      const nowMs = performance.now()
      if (nowMs - (done === 1 ? startedAtMs : notedAtMs) < PROGRESS_EVERY_MS) return
      notedAtMs = nowMs
      note(done === 1 ? 'copied, checking the copy' : `copied ${Math.floor(done * 100)} %`)
    },
  })
  const megabytes = (statSync(to).size / 1_000_000).toFixed(1)
  say(`Backed up ${databaseFile(dataDir)} to ${to} (${megabytes} MB, checked).`)
  return 0
}
