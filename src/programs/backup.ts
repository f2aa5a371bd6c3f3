import { statSync } from 'node:fs'
import { join } from 'node:path'

import { backUp } from '../store/sqlite/backup.ts'
import { restoreBackup } from '../store/sqlite/restore-backup.ts'

export interface CommandContext {
  readonly dataDir: string
  /** The answer. */
  readonly say: (text: string) => void
  /** How far it is. */
  readonly note: (text: string) => void
}

const PROGRESS_EVERY_MS = 1000

/** `backup FILE`: copies the control plane's database while it runs. Answers the exit status. */
export async function runBackup(
  args: readonly string[],
  { dataDir, say, note }: CommandContext,
): Promise<number> {
  const [to, ...others] = args
  if (to === undefined || others.length > 0) {
    note('Usage: npm run backup -- FILE\nFILE must not exist yet. The control plane may be running.')
    return 2
  }
  const startedAtMs = performance.now()
  let notedAtMs = startedAtMs
  await backUp({
    from: fileOf(dataDir),
    to,
    onProgress: (done) => {
      const nowMs = performance.now()
      if (nowMs - (done === 1 ? startedAtMs : notedAtMs) < PROGRESS_EVERY_MS) return
      notedAtMs = nowMs
      note(done === 1 ? 'copied, checking the copy' : `copied ${Math.floor(done * 100)} %`)
    },
  })
  const megabytes = (statSync(to).size / 1_000_000).toFixed(1)
  say(`Backed up ${fileOf(dataDir)} to ${to} (${megabytes} MB, checked).`)
  return 0
}

/** `restore-backup FILE`: puts a backup in the place of the control plane's database. Answers the exit status. */
export async function runRestoreBackup(
  args: readonly string[],
  { dataDir, say, note }: CommandContext,
): Promise<number> {
  const [backup, ...others] = args
  if (backup === undefined || others.length > 0) {
    note(
      'Usage: npm run restore-backup -- FILE\nFILE is what the backup command has written. Stop the control plane first.',
    )
    return 2
  }
  const { movedTo } = await restoreBackup({ backup, file: fileOf(dataDir) })
  say(`Restored ${fileOf(dataDir)} from ${backup}.`)
  if (movedTo !== undefined) say(`The database that was there is now ${movedTo}.`)
  say(
    'When the control plane starts, every org is disabled. What was done after the backup is not in it: revoke, lock and ' +
      'burn again what must stay stopped (keys burned since then work again), then enable each org.',
  )
  return 0
}

function fileOf(dataDir: string): string {
  return join(dataDir, 'control-plane.db')
}
