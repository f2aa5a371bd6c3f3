import { EXIT, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'

/** What `main.ts` runs itself, before anything of the command line is loaded. They stand here to be found. */
export const programCommands: Commands = (program) => {
  program.command('start').description('control plane and tool server on this machine').action(ranByMain)
  program
    .command('control-plane')
    .description('only the control plane; settings: .env.example')
    .action(ranByMain)
  program.command('tool-server').description('only the tool server; settings: .env.example').action(ranByMain)
  program
    .command('backup <file>')
    .description('copy the database of the control plane, also while it runs')
    .action(ranByMain)
  program
    .command('restore-backup [file]')
    .description('put a backup in its place, or with DATABASE_URL note a restore; no control plane may run')
    .option('--keep-keys', 'every key of the backup works on, also one that was burned after it was made')
    .option('--nothing-lost', 'with DATABASE_URL: it only moved, with every commit, and nothing is stopped')
    .action(ranByMain)
}

/** Reached only by a command line that `main.ts` does not take for one of these. */
export function ranByMain(): never {
  throw new CliError(
    'USAGE',
    'This command stands alone: write it first, and without --json, --yes and --tool-server.',
    EXIT.usage,
  )
}
