import { z } from 'zod'

import type { Cli } from './cli.ts'
import { table } from './table.ts'
import { when } from './times.ts'

// Runs as the tool server answers them; whatever else it says goes through to --json.

const Problem = z.looseObject({ code: z.string(), message: z.string() })
const Approval = z.looseObject({
  callId: z.string(),
  tool: z.string(),
  arguments: z.unknown(),
  digest: z.string(),
  surface: z.string(),
  state: z.string(),
  expiresAt: z.string(),
})
export const Run = z.looseObject({
  runId: z.string(),
  agent: z.string(),
  caller: z.string(),
  status: z.string(),
  output: z.unknown().optional(),
  approvals: z.array(Approval),
  resumable: z.boolean(),
  denial: Problem.optional(),
  error: Problem.optional(),
  createdAt: z.string(),
  changedAt: z.string(),
  effects: z
    .array(z.looseObject({ id: z.string(), effect: z.string(), tool: z.string(), state: z.string() }))
    .optional(),
})
export const RunList = z.looseObject({ runs: z.array(Run) })
export type RunBody = z.infer<typeof Run>

export function runTable(
  cli: Cli,
  runs: readonly (RunBody & { readonly toolServer: string })[],
  hasServers: boolean,
): string {
  return table(
    runs,
    [
      { title: 'RUN', of: ({ runId }) => runId },
      { title: 'AGENT', of: ({ agent }) => agent, shrinks: true },
      { title: 'STATUS', of: ({ status }) => painted(cli, status) },
      {
        title: 'WAITING',
        of: ({ approvals }) => approvals.filter(({ state }) => state === 'waiting').length,
      },
      { title: 'CHANGED', of: ({ changedAt }) => when(changedAt, cli) },
      ...(hasServers ? [{ title: 'TOOL SERVER', of: (run: { toolServer: string }) => run.toolServer }] : []),
    ],
    cli,
  )
}

function painted({ paint }: Cli, status: string): string {
  if (status === 'completed') return paint.green(status)
  if (status === 'denied' || status === 'failed') return paint.red(status)
  return status === 'interrupted' ? paint.yellow(status) : status
}

/** What a person who decides has to see, arguments whole. */
export function waitingLines(cli: Cli, run: RunBody): string {
  const { paint } = cli
  const head = `${paint.bold(run.runId)}  ${run.agent}  ${painted(cli, run.status)}  ${when(run.changedAt, cli)}  started by ${run.caller}`
  const calls = run.approvals.flatMap(({ callId, tool, surface, state, expiresAt, arguments: args }) => [
    `${paint.yellow(state)} ${paint.bold(tool)} on ${surface}, call ${callId}, expires ${when(expiresAt, cli)}`,
    ...JSON.stringify(args ?? 'cannot be opened', null, 2)
      .split('\n')
      .map((line) => `  ${line}`),
  ])
  return [head, ...calls].join('\n')
}

export function runLines(cli: Cli, run: RunBody): string {
  const { paint } = cli
  const effects = (run.effects ?? []).map(({ id, effect, tool, state }) => {
    const said = state === 'unknown' ? paint.red(state) : state
    return `effect ${effect} of ${tool}: ${said} (${id})`
  })
  const problems = [run.denial, run.error].flatMap((problem) =>
    problem === undefined ? [] : [`${paint.red(problem.code)}: ${problem.message}`],
  )
  return [waitingLines(cli, run), ...effects, ...problems, ...outputOf(run), ...nextOf(run)].join('\n')
}

function outputOf({ output }: RunBody): string[] {
  if (output === undefined) return []
  return [typeof output === 'string' ? output : JSON.stringify(output, null, 2)]
}

function nextOf({ runId, approvals, resumable }: RunBody): string[] {
  if (approvals.some(({ state }) => state === 'waiting'))
    return [`Decide with: holdpoint runs approve ${runId}`]
  return resumable ? [`Go on with: holdpoint runs resume ${runId}`] : []
}
