import { existsSync } from 'node:fs'
import { link, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

import { messageOf } from '../errors.ts'
import { PATHS } from '../machineid/paths.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { count } from './plural.ts'
import { ranByMain } from './programs.ts'

/** `audit verify FILE` works without the servers: `main.ts` runs it, and it stands here to be found. */
export const auditCommands: Commands = (program, cli) => {
  const audit = program.command('audit').description('the chain of everything that was changed')
  audit
    .command('export <file>')
    .description('take the whole chain away as JSON lines, to be verified anywhere')
    .option('--csv', 'for a spreadsheet, which cannot be verified')
    .action((file: string, { csv }: { readonly csv?: boolean }) =>
      exportAudit(cli(), file, csv === true ? 'csv' : 'jsonl'),
    )
  audit
    .command('verify <file>')
    .description('verify an export, a database or a backup, offline')
    .option('--org <org>', "only this org's chain")
    .option('--head <seq:hash>', 'a row that was noted elsewhere, which must still be there')
    .action(ranByMain)
}

/** Whole or not at all: an export that broke off would look like a chain that was cut. */
async function exportAudit(cli: Cli, file: string, format: 'jsonl' | 'csv'): Promise<void> {
  const operator = cli.operator('evidence')
  const progress = cli.progress('Exporting …')
  const draft = `${file}.part`
  try {
    const handle = await created(file, draft)
    let bytes = 0
    let rows = 0
    try {
      for await (const chunk of await operator.download(PATHS.audit, { format })) {
        await handle.write(chunk)
        bytes += chunk.length
        for (const byte of chunk) if (byte === LINE_END) rows += 1
        progress.update(`Exporting … ${count(rows, 'line')}`)
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await link(draft, file)
    await rm(draft)
    await synced(dirname(file))
    if (format === 'csv') cli.show({ json: { file, bytes }, text: `Exported the audit to ${file}.` })
    else {
      cli.show({
        json: { file, rows, bytes },
        text: `Exported ${count(rows, 'row')} to ${file}. Verify it with: holdpoint audit verify ${file}`,
      })
    }
  } catch (error) {
    if (!(error instanceof CliError && error.code === 'FILE_NOT_WRITABLE')) await rm(draft, { force: true })
    if (error instanceof CliError) throw error
    throw brokenOff(cli, error)
  } finally {
    progress.end()
  }
}

const LINE_END = 0x0a

function brokenOff(cli: Cli, cause: unknown): CliError {
  if (cli.signal.aborted)
    return new CliError('INTERRUPTED', 'Interrupted. Nothing was exported.', EXIT.interrupted)
  const message = `The export broke off (${messageOf(cause)}), and nothing was kept of it. Repeat it.`
  return new CliError('EXPORT_BROKEN_OFF', message, EXIT.error, { cause })
}

async function created(file: string, draft: string) {
  try {
    if (existsSync(file)) throw new Error('it is there already')
    return await open(draft, 'wx', 0o600)
  } catch (cause) {
    const message = `${file} cannot be written: ${messageOf(cause)}. Give another name.`
    throw new CliError('FILE_NOT_WRITABLE', message, EXIT.usage, { cause })
  }
}

async function synced(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  await handle.sync()
  await handle.close()
}
