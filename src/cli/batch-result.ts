import type { CALLS, CallOutput } from '../machineid/calls.ts'
import type { Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import { count } from './plural.ts'
import { table } from './table.ts'

/** What became of each; throws when one was left as it was. */
export function showBatch(
  cli: Cli,
  batch: CallOutput<typeof CALLS.revokeBatch>,
  { done, until = '' }: { readonly done: string; readonly until?: string },
): void {
  const { changed, results } = batch
  const rows = table(
    results,
    [
      { title: 'DEVICE', of: ({ deviceId }) => deviceId },
      { title: 'RESULT', of: ({ ok, code }) => (ok ? done.toLowerCase() : (code ?? 'left as it was')) },
      { title: 'EPOCH', of: ({ epoch }) => epoch },
      { title: 'STILL DENIED BY', of: ({ stillDeniedBy = [] }) => stillDeniedBy.join(', ') || '-' },
    ],
    cli,
  )
  cli.show({
    json: batch,
    text: results.length === 0 ? '' : `${rows}\n${done} ${count(changed, 'device')}.${until}`,
  })
  if (results.length === 0) {
    throw new CliError('NO_DEVICE_FITS', 'No device fits: nothing was changed. See: holdpoint devices ls')
  }
  const left = results.length - changed
  if (left > 0)
    throw new CliError(
      'SOME_LEFT',
      `${count(left, 'device')} of ${results.length} left as they were: see RESULT.`,
    )
}
