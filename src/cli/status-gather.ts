import { z } from 'zod'

import { CALLS, type CallOutput } from '../machineid/calls.ts'
import type { StopBody } from '../machineid/wire-stops.ts'
import type { OperatorClient } from './operator-client.ts'
import type { ToolServerClient } from './tool-server-client.ts'
import { recentlyUnconfirmed } from './watch-stop.ts'

type Devices = CallOutput<typeof CALLS.devices>['devices']

/** Everything that says whether work may go on. */
export interface Standing {
  readonly usage: CallOutput<typeof CALLS.usage>
  readonly locks: CallOutput<typeof CALLS.locks>['locks']
  /** Those that are denied, and how many there are of the others. */
  readonly denied: Devices
  readonly allowedCount: number
  /** Undefined where the control plane does not tell. */
  readonly replicas: CallOutput<typeof CALLS.replicas>['replicas'] | undefined
  /** Of the last day. */
  readonly unconfirmed: readonly StopBody[]
  /** The newest 100, by their epoch. */
  readonly stopped: ReadonlyMap<number, StopBody>
  readonly toolServers: readonly ToolServerStanding[]
}

export interface ToolServerStanding {
  readonly url: string
  readonly problem: string | null
  readonly status: string | null
  /** Why it denies every call, whatever the control plane allows; null when it does not. */
  readonly deniesAll: string | null
  readonly inFlight: number | null
  readonly unknownOutcomes: number | null
  readonly waitingApprovals: number | null
}

const PAGE = 100

export async function standingOf(
  operator: OperatorClient,
  toolServers: readonly ToolServerClient[],
  nowMs: number,
): Promise<Standing> {
  const [usage, { locks }, { devices }, replicas, stops, served] = await Promise.all([
    operator.call(CALLS.usage, {}),
    operator.call(CALLS.locks, {}),
    operator.call(CALLS.devices, {}),
    operator.call(CALLS.replicas, {}).then(
      (answer) => answer.replicas,
      () => undefined,
    ),
    operator.call(CALLS.stopHistory, { limit: PAGE }).then(
      (answer) => answer.stops,
      () => [],
    ),
    Promise.all(toolServers.map(toolServerOf)),
  ])
  const denied = devices.filter(({ revoked, locked, overLimit }) => revoked || locked || overLimit)
  return {
    usage,
    locks,
    denied,
    allowedCount: devices.length - denied.length,
    replicas,
    unconfirmed: recentlyUnconfirmed(stops, nowMs),
    stopped: new Map(stops.map((stop) => [stop.epoch, stop])),
    toolServers: served,
  }
}

const Ready = z.object({
  status: z.string(),
  started: z.boolean().optional(),
  authority: z.object({ answered: z.boolean(), code: z.string().optional() }).nullish(),
  in_flight: z.number().nullish(),
  unknown_outcomes: z.number().nullish(),
  runs: z.object({ waiting_approvals: z.number() }).nullish(),
})

function whyDenied({ status, started, authority, unknown_outcomes }: z.output<typeof Ready>): string | null {
  if (status === 'ok') return null
  if (started === false) return 'it has not started'
  if (authority?.answered === false)
    return `it got no answer from its control plane (${authority.code ?? 'no code'})`
  return unknown_outcomes === null ? 'its journal cannot be read' : null
}

async function toolServerOf(server: ToolServerClient): Promise<ToolServerStanding> {
  const nothing = {
    status: null,
    deniesAll: null,
    inFlight: null,
    unknownOutcomes: null,
    waitingApprovals: null,
  }
  try {
    const parsed = Ready.safeParse(await server.readyz())
    if (!parsed.success)
      return { url: server.url, problem: 'What answers there is no tool server.', ...nothing }
    const { status, in_flight: inFlight, unknown_outcomes: unknownOutcomes, runs } = parsed.data
    return {
      url: server.url,
      problem: null,
      status,
      deniesAll: whyDenied(parsed.data),
      inFlight: inFlight ?? null,
      unknownOutcomes: unknownOutcomes ?? null,
      waitingApprovals: runs?.waiting_approvals ?? null,
    }
  } catch (error) {
    return { url: server.url, problem: error instanceof Error ? error.message : String(error), ...nothing }
  }
}
