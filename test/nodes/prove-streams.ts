import { setTimeout as delay } from 'node:timers/promises'

import { PATHS } from '../../src/machineid/paths.ts'
import { quantile } from '../bench/processes.ts'
import { machineMs } from '../../demo/fleet/remote.ts'
import { eventually, PAYMENTS, startFleet, type Fleet } from '../faults/stops-world.ts'
import { randomFrom } from '../fixtures/random.ts'
import type { ProofOptions } from './prove-reads.ts'
import { begin, rounded, type ProofResult } from './result.ts'

const WITHIN_MS = 20_000
const GOES_ON_MS = 300
const CALL_EVERY_MS = 50

/**
 * Guards with a stream of stops each, spread over all nodes, with a call in flight on each of them. A stop that any node
 * acks aborts them all, wherever their streams are; G1: nothing starts that was asked for after the ack.
 */
export async function proveStreams(
  options: ProofOptions & { readonly streams: number; readonly rounds: number },
): Promise<ProofResult> {
  const { cluster, seed, streams, rounds, say = () => {} } = options
  const { nodes, keys } = cluster
  const { must, result } = begin('streams', seed)
  const random = randomFrom(seed)
  await using ends = new AsyncDisposableStack()
  const count = Math.ceil(streams / nodes.length)
  const fleets: Fleet[] = []
  for (const { url, index } of nodes) {
    const fleet = await startFleet({ url, keys }, { name: `fleet-${seed}-${index}`, count })
    fleets.push(fleet)
    ends.use(fleet)
  }
  const all = <T>(ask: (fleet: Fleet) => Promise<T>) => Promise.all(fleets.map(ask))
  /** Of streams of the node that acked, and of the others. */
  const times = { same: [] as number[], other: [] as number[] }
  const confirmedMs: number[] = []
  let asked = 0
  let started = 0

  for (let round = 0; round < rounds; round++) {
    const begun = (await all((fleet) => fleet.ask('call'))).reduce((sum, one) => sum + one, 0)
    must(begun === count * nodes.length, `round ${round}: ${begun} of ${count * nodes.length} calls began`)
    await all((fleet) => fleet.ask('steady', CALL_EVERY_MS))
    await delay(GOES_ON_MS)
    const by = random.pick(nodes)
    const acked = await by.operate(PATHS.revoke, { deviceId: PAYMENTS, reason: 'proof' }, 'stop')
    const ackMs = machineMs()
    must(acked.status === 200, `round ${round}: ${acked.status} ${JSON.stringify(acked.body)}`)
    const epoch = Number(acked.body.epoch)
    const aborted = await all((fleet) => fleet.ask('aborted', WITHIN_MS))
    for (const [index, abortedMs] of aborted.entries()) {
      must(
        abortedMs.length === count,
        `round ${round}: ${abortedMs.length} of ${count} aborted on node ${index}`,
      )
      times[index === by.index ? 'same' : 'other'].push(...abortedMs.map((ms) => ms - ackMs))
    }
    // Asked of another node than the one that acked.
    const watching = random.pick(nodes)
    const seen = await eventually(
      async () => {
        const { body } = await watching.operate(`${PATHS.stopHistory}?epoch=${epoch}`, undefined, 'viewer')
        return (body.stops as { readonly state: string; readonly replicas: unknown[] }[])[0]
      },
      (stop) => stop?.state === 'confirmed',
    )
    must(
      seen?.state === 'confirmed',
      `round ${round}: node ${watching.index} tells of a stop that is ${seen?.state}`,
    )
    must(seen?.replicas.length === count * nodes.length, `round ${round}: ${seen?.replicas.length} confirmed`)
    confirmedMs.push(machineMs() - ackMs)
    await delay(GOES_ON_MS)
    const calls = (await all((fleet) => fleet.ask('calls'))).flat()
    const after = calls.filter(({ enteredMs }) => enteredMs > ackMs)
    asked += after.length
    started += after.filter(({ startedMs }) => startedMs !== undefined).length
    const restored = await by.operate(PATHS.unrevoke, { deviceId: PAYMENTS, ifEpoch: epoch }, 'full')
    must(restored.status === 200, `round ${round}, restore: ${restored.status}`)
    say(`${round + 1} of ${rounds} rounds`)
  }
  must(started === 0, `G1: ${started} bodies started that were asked for after the ack`)
  must(asked > 0, 'nothing was asked for after an ack')
  return result({
    streams: count * nodes.length,
    rounds,
    abortSinceAckMs: {
      sameNode: timesOf(times.same),
      otherNodes: timesOf(times.other),
      all: timesOf([...times.same, ...times.other]),
    },
    confirmedSinceAckMs: timesOf(confirmedMs),
    askedAfterAck: asked,
    startedOfThose: started,
  })
}

function timesOf(all: readonly number[]) {
  const at = (share: number) => rounded(quantile(all, share))
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}
