import { z } from 'zod'

import { TOOL_SERVER_PATHS } from '../tool-server-wire.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { collected } from './devices.ts'
import { count } from './plural.ts'
import { Run, RunList, runLines, runTable, waitingLines, type RunBody } from './run-text.ts'
import { confirmed, underway } from './stop-asking.ts'
import type { ToolServerClient } from './tool-server-client.ts'

interface ListOptions {
  readonly status?: string
  readonly limit?: string
}

interface DecideOptions {
  readonly call?: readonly string[]
  readonly message?: string
}

const RESUME_BUDGET_MS = 30 * 60_000

export const runCommands: Commands = (program, cli) => {
  const runs = program.command('runs').description('hosted runs, and the calls that wait for a person')
  const call = [
    '--call <call>',
    'only this one; may be given several times (default: all that wait)',
  ] as const
  runs
    .command('ls')
    .description('list them, newest first')
    .option('--status <status>', 'interrupted, running, completed, denied, failed, cancelled or queued')
    .option('--limit <runs>', 'how many of each server (default: 50)')
    .action((options: ListOptions) => list(cli(), options))
  runs
    .command('show <run>')
    .description('one with its calls, effects and steps')
    .action((runId: string) => show(cli(), runId))
  runs
    .command('approve <run>')
    .description('let calls that wait go on, exactly as they are shown')
    .option(...call, collected)
    .action((runId: string, options: DecideOptions) => decide(cli(), runId, options, true))
  runs
    .command('decline <run>')
    .description('refuse calls that wait')
    .option(...call, collected)
    .option('--message <text>', 'what the model is told')
    .action((runId: string, options: DecideOptions) => decide(cli(), runId, options, false))
  runs
    .command('resume <run>')
    .description('go on with one that paused, and wait until it ends or pauses again')
    .action((runId: string) => resume(cli(), runId))
}

async function list(cli: Cli, { status, limit }: ListOptions): Promise<void> {
  const query = new URLSearchParams({ ...(status && { status }), ...(limit && { limit }) }).toString()
  const path = query === '' ? TOOL_SERVER_PATHS.runs : `${TOOL_SERVER_PATHS.runs}?${query}`
  const servers = cli.toolServers()
  const found = await underway(cli, 'Reading the runs …', () =>
    Promise.all(
      servers.map(async (server) => {
        const { runs } = read(RunList, await server.request('GET', path))
        return runs.map((run) => ({ ...run, toolServer: server.url }))
      }),
    ),
  )
  const runs = found.flat()
  const isEmpty = runs.length === 0 && cli.columns !== undefined
  cli.show({
    json: { runs },
    text: isEmpty ? 'There is no such run.' : () => runTable(cli, runs, servers.length > 1),
  })
}

async function show(cli: Cli, runId: string): Promise<void> {
  const { run } = await findRun(cli, runId)
  cli.show({ json: run, text: () => runLines(cli, run) })
}

/** On the tool server that has it. */
async function findRun(
  cli: Cli,
  runId: string,
): Promise<{ readonly server: ToolServerClient; readonly run: RunBody }> {
  const servers = cli.toolServers()
  for (const [at, server] of servers.entries()) {
    try {
      return { server, run: read(Run, await server.request('GET', runPath(runId))) }
    } catch (error) {
      const isElsewhere = error instanceof CliError && error.code === 'RUN_NOT_FOUND'
      if (!isElsewhere || at === servers.length - 1) throw error
    }
  }
  throw new CliError('RUN_NOT_FOUND', `There is no run ${runId}. See: holdpoint runs ls`)
}

function runPath(runId: string, action = ''): string {
  return `${TOOL_SERVER_PATHS.runs}/${encodeURIComponent(runId)}${action}`
}

/** The decision is bound to the very arguments that were shown: their digest goes with it. */
async function decide(
  cli: Cli,
  runId: string,
  { call, message }: DecideOptions,
  approve: boolean,
): Promise<void> {
  const { server, run } = await findRun(cli, runId)
  const waiting = run.approvals.filter(
    ({ callId, state }) => state === 'waiting' && (call === undefined || call.includes(callId)),
  )
  const missing = call?.filter((callId) => !waiting.some((one) => one.callId === callId)) ?? []
  if (missing.length > 0 || waiting.length === 0) {
    const what = missing.length > 0 ? `no call ${missing.join(', ')} waits` : 'no call waits'
    throw new CliError('NOTHING_WAITS', `In run ${runId} ${what}. See: holdpoint runs show ${runId}`)
  }
  if (!cli.isJson) cli.note(waitingLines(cli, { ...run, approvals: waiting }))
  const verb = approve ? 'Approve' : 'Decline'
  await confirmed(cli, () => `${verb} ${count(waiting.length, 'call')}?`)
  const decisions = waiting.map(({ callId, digest }) => ({
    callId,
    digest,
    approve,
    ...(message !== undefined && { message }),
  }))
  const decided = await underway(cli, `${verb} …`, () =>
    server.request('POST', runPath(runId, '/decisions'), { decisions }),
  )
  cli.show({
    json: decided,
    text: `${approve ? 'Approved' : 'Declined'} ${count(waiting.length, 'call')} of run ${runId}. Go on with: holdpoint runs resume ${runId}`,
  })
}

async function resume(cli: Cli, runId: string): Promise<void> {
  const { server } = await findRun(cli, runId)
  const run = await underway(cli, 'The run goes on …', async () => {
    // Ctrl-C here must not end what a person approved a moment ago.
    const body = { onDisconnect: 'continue' }
    const options = { timeoutMs: RESUME_BUDGET_MS }
    return read(
      Run,
      await server.request('POST', runPath(runId, '/resume'), body, options).catch(unsure(cli, runId)),
    )
  })
  cli.show({ json: run, text: () => runLines(cli, run) })
  if (run.status === 'denied') throw ended(run, 'was denied', EXIT.denied)
  if (run.status === 'failed') throw ended(run, 'failed', EXIT.error)
}

function unsure(cli: Cli, runId: string) {
  return (error: unknown): never => {
    if (!cli.signal.aborted || !(error instanceof CliError)) throw error
    throw new CliError(
      'INTERRUPTED',
      `Interrupted. The run goes on all the same: see holdpoint runs show ${runId}`,
      EXIT.interrupted,
    )
  }
}

function ended({ runId, denial, error }: RunBody, how: string, status: number): CliError {
  const { code, message } = denial ?? error ?? { code: 'RUN_ENDED', message: '' }
  return new CliError(code, `Run ${runId} ${how}. ${message}`, status)
}

function read<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new CliError(
    'ANSWER_UNREADABLE',
    'The tool server answered something that this version does not know.',
  )
}
