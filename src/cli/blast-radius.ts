import type { z } from 'zod'

import { CALLS, type Call, type CallInput } from '../machineid/calls.ts'
import type { PreviewResponse } from '../machineid/wire-devices.ts'
import type { ReplicaBody } from '../machineid/wire-stops.ts'
import { EXIT, type Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { OperatorClient } from './operator-client.ts'
import { isNotOurs } from './operator-refusal.ts'
import { count } from './plural.ts'
import { table } from './table.ts'

/** What a stop would hit, now. */
export interface BlastRadius {
  readonly preview: z.output<typeof PreviewResponse>
  /** Calls that run on those devices; null when that could not be learnt, which keeps nobody from stopping. */
  readonly inFlight: number | null
  /** The processes they run in. */
  readonly replicas: number
  readonly inFlightOf: ReadonlyMap<string, number>
}

export async function blastRadius<C extends Call>(
  operator: OperatorClient,
  call: C,
  input: CallInput<C>,
): Promise<BlastRadius> {
  // Asked first: an authority that does not know this does not know previews either, and would make the stop.
  const known = await operator.call(CALLS.replicas, {}).then(
    (answer) => answer.replicas,
    (error: unknown) => {
      if (isNotOurs(error)) throw noPreview(operator.url, error)
      return undefined
    },
  )
  const preview = await operator.preview(call, input)
  const hit = new Set(preview.devices.map(({ deviceId }) => deviceId))
  const counts = (known ?? []).map((replica) => inFlightIn(replica, hit)).filter((calls) => calls > 0)
  const inFlightOf = new Map<string, number>()
  for (const { deviceId, inFlight } of (known ?? []).flatMap(({ devices }) => devices)) {
    inFlightOf.set(deviceId, (inFlightOf.get(deviceId) ?? 0) + inFlight)
  }
  const inFlight = known === undefined ? null : counts.reduce((sum, calls) => sum + calls, 0)
  return { preview, inFlight, replicas: counts.length, inFlightOf }
}

const LOOK_TIMEOUT_MS = 2000

/** A look that fails, or takes long, is no reason not to stop: then it says why there is none. */
export function quickly(look: Promise<BlastRadius>): Promise<BlastRadius | string> {
  const late = new Promise<string>((resolve) => {
    setTimeout(resolve, LOOK_TIMEOUT_MS, 'the control plane is slow to answer.').unref()
  })
  const failed = (error: unknown) => (error instanceof Error ? error.message : String(error))
  return Promise.race([look.catch(failed), late])
}

function noPreview(url: string, cause: unknown): CliError {
  return new CliError(
    'NO_PREVIEW',
    `What answers at ${url} cannot say what a stop would hit, so nothing was asked of it. Is that the control plane?`,
    EXIT.error,
    { cause },
  )
}

/**
 * A call counts for the server device of its process and for that of its surface. So the busiest device stands for all
 * calls when it is hit; else the calls of the surfaces that are hit do not overlap.
 */
function inFlightIn({ devices }: ReplicaBody, hit: ReadonlySet<string>): number {
  const most = Math.max(0, ...devices.map(({ inFlight }) => inFlight))
  const calls = devices.filter(({ deviceId }) => hit.has(deviceId)).map(({ inFlight }) => inFlight)
  return calls.includes(most) ? most : calls.reduce((sum, one) => sum + one, 0)
}

/** `3 devices (2 of them allowed now), 4 calls in flight in 2 processes`. */
export function blastText({ preview, inFlight, replicas }: BlastRadius): string {
  const { deviceCount, hits, truncated } = preview
  const allowed =
    hits === deviceCount ? '' : ` (${truncated ? 'of the first 1,000 ' : ''}${hits} allowed now)`
  return `${count(deviceCount, 'device')}${allowed}${callsText(inFlight, replicas)}`
}

function callsText(inFlight: number | null, replicas: number): string {
  if (inFlight === null) return ', calls in flight unknown'
  if (inFlight === 0) return ', no call in flight'
  return `, ${count(inFlight, 'call')} in flight in ${count(replicas, 'process', 'processes')}`
}

/** For `--dry-run`. `what` would be done, for example `Would revoke`. */
export function showDryRun(cli: Cli, blast: BlastRadius, what: string): void {
  const { preview, inFlight, replicas, inFlightOf } = blast
  const rows = table(
    preview.devices,
    [
      { title: 'DEVICE', of: ({ deviceId }) => deviceId },
      { title: 'NOW', of: ({ now }) => now },
      { title: 'THEN', of: ({ then }) => then },
      { title: 'IN FLIGHT', of: ({ deviceId }) => inFlightOf.get(deviceId) ?? '-' },
    ],
    cli,
  )
  cli.show({
    json: {
      dryRun: true,
      orgId: preview.orgId,
      orgEpoch: preview.orgEpoch,
      deviceCount: preview.deviceCount,
      truncated: preview.truncated,
      hits: preview.hits,
      inFlight,
      replicas,
      devices: preview.devices.map((device) => ({
        ...device,
        inFlight: inFlightOf.get(device.deviceId) ?? null,
      })),
    },
    text: `${what} ${blastText(blast)}. Nothing was changed.${preview.devices.length === 0 ? '' : `\n${rows}`}`,
  })
}
