import { Option } from 'commander'

import { CALLS } from '../machineid/calls.ts'
import { FeedEvent } from '../machineid/wire-evidence.ts'
import { PATHS } from '../machineid/paths.ts'
import type { Cli, Commands } from './cli.ts'
import type { OperatorClient } from './operator-client.ts'
import { feedLine } from './tail-text.ts'

interface Options {
  readonly device?: string
  readonly code?: string
  readonly boundary?: string
  readonly denied?: boolean
  readonly allowed?: boolean
  readonly decisionsOnly?: boolean
}

/** What happens in the org, as it happens. */
export const tailCommands: Commands = (program, cli) => {
  program
    .command('tail')
    .summary('show decisions, stops and restores as they happen')
    .description(
      'Shows decisions, stops and restores as they happen, one a line, until Ctrl-C (status 130) or until nobody reads\n' +
        'them any more (status 0). Goes on by itself after a lost connection, without a gap. With --code, --boundary,\n' +
        '--denied or --allowed only decisions are shown.',
    )
    .option('--device <id>', 'only this device, or a pattern such as openai-agent:prod:payments:*')
    .option('--code <code>', 'only this code, for example DEVICE_REVOKED')
    .option('--boundary <name>', 'only this boundary: startup, task, tool, side_effect or resume')
    .addOption(new Option('--denied', 'only denials').conflicts('allowed'))
    .addOption(new Option('--allowed', 'only allows').conflicts('denied'))
    .option('--decisions-only', 'no stops, restores and other changes')
    .action((options: Options) => tail(cli(), options))
}

async function tail(cli: Cli, options: Options): Promise<void> {
  const operator = cli.operator('evidence')
  const { device, code, boundary, denied, allowed, decisionsOnly } = options
  const query = {
    types: decisionsOnly === true ? 'decision' : undefined,
    device,
    code,
    boundary,
    allowed: denied === true ? false : allowed === true ? true : undefined,
  }
  let isFirst = true
  const onState = (state: 'up' | 'down', why?: string) => {
    if (state === 'down')
      cli.note(`Lost the control plane${why === undefined ? '' : `: ${why}`}. Trying again …`)
    else if (!isFirst) cli.note('Connected again.')
    isFirst = false
  }
  const events = operator.events(PATHS.feed, query, cli.signal, { onState })
  const hinted = hint(cli, operator, denied === true)
  for await (const { data } of events) {
    const parsed = FeedEvent.safeParse(data)
    // Of a later version.
    if (!parsed.success) continue
    cli.line({ json: data, text: feedLine(parsed.data, cli.paint) })
  }
  await hinted
}

/** That allows are missing is no sign that nothing works. */
async function hint(cli: Cli, operator: OperatorClient, deniedOnly: boolean): Promise<void> {
  if (deniedOnly || cli.isJson) return
  try {
    const { decisionLog } = await operator.call(CALLS.diagnosis, {}, { signal: cli.signal })
    if (decisionLog === 'denials') cli.note(ONLY_DENIALS)
  } catch {
    // A hint, no more: the stream says what is wrong.
  }
}

const ONLY_DENIALS =
  'This control plane records denials only, so allows are not shown. Start it with DECISION_LOG=all to see them.'
