import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { isLoopback } from '../loopback.ts'
import { CALLS } from '../machineid/calls.ts'
import { adminsOf, type Admins } from './admins.ts'
import type { Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { AuthorityFacts, DoctorFacts, Timing, ToolServerFacts, Trouble } from './doctor-facts.ts'
import type { OperatorClient } from './operator-client.ts'
import type { ToolServerClient } from './tool-server-client.ts'
import { recentlyUnconfirmed } from './watch-stop.ts'

const STOPS = 100

/** Asks everybody, changes nothing, and never throws: what could not be learnt is a fact too. */
export async function gather(cli: Cli): Promise<DoctorFacts> {
  const servers = cli.toolServers()
  const [authority, toolServers] = await Promise.all([
    authorityOf(cli),
    Promise.all(servers.map((server) => toolServerOf(server, cli.nowMs))),
  ])
  return { authority, toolServers, operatorFileBesideTools: operatorFile(cli, servers) }
}

async function authorityOf(cli: Cli): Promise<DoctorFacts['authority']> {
  let operator: OperatorClient
  try {
    operator = cli.operator('see')
  } catch (error) {
    return { url: 'control plane', trouble: troubleOf(error) }
  }
  try {
    return { url: operator.url, told: await authorityFacts(operator, cli) }
  } catch (error) {
    return { url: operator.url, trouble: troubleOf(error) }
  }
}

async function authorityFacts(operator: OperatorClient, cli: Cli): Promise<AuthorityFacts> {
  const { nowMs } = cli
  // The first call opens the connection, the second one is measured.
  const usage = await operator.call(CALLS.usage, {})
  const { answer: diagnosis, ...timing } = await timed(nowMs, () => operator.call(CALLS.diagnosis, {}))
  const { replicas } = await operator.call(CALLS.replicas, {})
  const { stops } = await operator.call(CALLS.stopHistory, { limit: STOPS })
  const { org, planState, devicesUsed, limit, overdue } = usage
  return {
    ...timing,
    diagnosis,
    org,
    planState,
    devicesUsed,
    limit,
    overdue,
    admins: await adminsAtHand(cli),
    replicas,
    unconfirmed: recentlyUnconfirmed(stops, nowMs()),
  }
}

/** With the admin key, where there is one: the others may not see who else is one. */
async function adminsAtHand(cli: Cli): Promise<Admins | undefined> {
  try {
    return await adminsOf(cli.operator('manage'))
  } catch {
    return undefined
  }
}

async function toolServerOf(server: ToolServerClient, nowMs: () => number): Promise<ToolServerFacts> {
  const { url } = server
  try {
    await server.readyz()
  } catch (error) {
    return { url, unreachable: troubleOf(error) }
  }
  try {
    const { answer: inspect, ...timing } = await timed(nowMs, () => server.inspect())
    return { url, told: { ...timing, inspect } }
  } catch (error) {
    return { url, refused: troubleOf(error) }
  }
}

/** The other clock is taken to have been read in the middle of the call. */
async function timed<T extends { readonly now: string }>(
  nowMs: () => number,
  ask: () => Promise<T>,
): Promise<Timing & { readonly answer: T }> {
  const wallMs = nowMs()
  const begunMs = performance.now()
  const answer = await ask()
  const roundTripMs = performance.now() - begunMs
  return { answer, roundTripMs, clockAheadMs: Date.parse(answer.now) - (wallMs + roundTripMs / 2) }
}

/** Beside the tools: in a folder that a tool server on this machine writes to as well, which the journal shows. */
function operatorFile({ dataDir }: Cli, servers: readonly ToolServerClient[]): string | undefined {
  const file = join(dataDir, 'operator.json')
  const isHere = servers.some(({ url }) => isLoopback(new URL(url).hostname))
  return isHere && existsSync(file) && existsSync(join(dataDir, 'journal.sqlite')) ? file : undefined
}

function troubleOf(error: unknown): Trouble {
  if (error instanceof CliError) return { code: error.code, message: error.message }
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) }
}
