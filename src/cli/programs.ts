import { EXIT, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'

/** What `main.ts` runs itself, before anything of the command line is loaded. They stand here to be found. */
export const programCommands: Commands = (program) => {
  program
    .command('start')
    .description('control plane and tool server on this machine (npm start)')
    .action(needsCheckout)
  program
    .command('control-plane')
    .description('only the control plane; settings: .env.example')
    .action(needsCheckout)
  program
    .command('tool-server')
    .description('only the tool server; settings: .env.example')
    .action(needsCheckout)
  program
    .command('backup <file>')
    .description('copy the database of the control plane, also while it runs')
    .action(needsCheckout)
  program
    .command('restore-backup [file]')
    .description('put a backup in its place, or with DATABASE_URL note a restore; no control plane may run')
    .option('--keep-keys', 'every key of the backup works on, also one that was burned after it was made')
    .option('--nothing-lost', 'with DATABASE_URL: it only moved, with every commit, and nothing is stopped')
    .action(needsCheckout)
}

/** The published package asks servers, and has none. */
export function needsCheckout(): never {
  throw new CliError(
    'CHECKOUT_NEEDED',
    'This runs in a checkout of holdpoint, beside the servers; this package has only what asks them.',
    EXIT.usage,
  )
}
