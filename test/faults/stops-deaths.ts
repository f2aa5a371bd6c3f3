import { quantile } from '../bench/processes.ts'
import type { ProofOptions } from './stops-idle.ts'
import { eventually, killProcess, PAYMENTS, residentMb, startFleet, startStopsWorld } from './stops-world.ts'

interface DeathOptions extends ProofOptions {
  readonly replicas: number
}

const rounded = (value: number) => Math.round(value * 10) / 10
const WITHIN_MS = 15_000
/** From the first attempt to the last: a control plane that starts takes a while. */
const BACK_WITHIN_MS = 60_000
/** How much of a fleet may come back in one moment. */
const MOMENT_MS = 50
const MAX_SHARE = 0.5

function fleetOf(states: readonly { readonly replica: string; readonly state: string }[], name: string) {
  const own = states.filter(({ replica }) => replica.startsWith(`${name}/`))
  return { count: own.length, states: [...new Set(own.map(({ state }) => state))].toSorted().join(' ') }
}

/** One process is killed, one stands still: the others are stopped all the same, and nobody is taken at his silence. */
export async function proveReplicasDie({ replicas, say = () => {} }: DeathOptions) {
  const problems: string[] = []
  const must = (fits: boolean, otherwise: string) => void (fits || problems.push(otherwise))
  await using world = await startStopsWorld()
  const count = Math.ceil(replicas / 3)
  const start = (name: string) => startFleet(world, { name, count })
  await using lives = await start('lives')
  await using dies = await start('dies')
  await using stands = await start('stands')
  for (const fleet of [lives, dies, stands]) await fleet.ask('call')
  const beforeMb = await residentMb(world.pid())

  await killProcess(dies.child)
  stands.child.process.kill('SIGSTOP')
  const downOf = async () =>
    (await world.replicas()).filter(({ replica, stream }) => replica.startsWith('dies/') && stream === 'down')
      .length
  const down = await eventually(downOf, (seen) => seen === count)
  must(down === count, `${down} of ${count} streams of a killed process are down`)

  const { ackMs, epoch } = await world.revoke(PAYMENTS)
  const [aborted, asked] = await Promise.all([
    lives.ask('aborted', WITHIN_MS),
    world.validate('openai-agent:bench:tool-server:01'),
  ])
  must(asked.code === 'ALLOW', `a question meanwhile: ${asked.code}`)
  must(aborted.length === count, `${aborted.length} of ${count} that live were aborted`)
  const seen = await eventually(
    () => world.stopOf(epoch),
    ({ replicas: all }) => fleetOf(all, 'lives').states === 'confirmed',
  )
  const whileSilent = {
    stop: seen.state,
    lives: fleetOf(seen.replicas, 'lives'),
    dies: fleetOf(seen.replicas, 'dies'),
    stands: fleetOf(seen.replicas, 'stands'),
  }
  const expected = {
    stop: 'unconfirmed',
    lives: { count, states: 'confirmed' },
    dies: { count, states: 'silent' },
    stands: { count, states: 'told' },
  }
  must(
    JSON.stringify(whileSilent) === JSON.stringify(expected),
    `while silent: ${JSON.stringify(whileSilent)}`,
  )

  stands.child.process.kill('SIGCONT')
  const late = await stands.ask('aborted', WITHIN_MS)
  must(late.length === count, `${late.length} of ${count} that stood still were aborted`)
  const later = await eventually(
    () => world.stopOf(epoch),
    ({ replicas: all }) => fleetOf(all, 'stands').states === 'confirmed',
  )
  must(fleetOf(later.replicas, 'stands').states === 'confirmed', 'who goes on again does not confirm')
  must(later.state === 'unconfirmed', `a stop that the dead could not confirm is ${later.state}`)
  const afterMb = await residentMb(world.pid())
  const lastMs = rounded(Math.max(...aborted) - ackMs)
  say(
    `${count} replicas killed, ${count} stood still, ${count} lived and were aborted within ${lastMs} ms of the ack;`,
  )
  say(`  meanwhile ${JSON.stringify(whileSilent)}; resident ${rounded(beforeMb)} → ${rounded(afterMb)} MB`)
  return { count, lastMs, whileSilent, residentMb: [beforeMb, afterMb].map(rounded), problems }
}

/**
 * kill -9 of the control plane right after a stop was acked, and again before one: replicas come back one after the
 * other, are told what they missed, and nothing that was allowed before the stop goes on unsignalled (G1, G5).
 */
export async function proveControlPlaneKilled({ replicas, say = () => {} }: DeathOptions) {
  const problems: string[] = []
  const must = (fits: boolean, otherwise: string) => void (fits || problems.push(otherwise))
  await using world = await startStopsWorld()
  await using fleet = await startFleet(world, { name: 'fleet', count: replicas })
  const rounds = []
  for (const killed of ['before the stop', 'after the stop'] as const) {
    const begun = await fleet.ask('call')
    must(begun === replicas, `${begun} of ${replicas} calls began`)
    let stop = killed === 'after the stop' ? await world.revoke(PAYMENTS) : undefined
    await world.kill()
    await world.startAnew()
    const upAtStop = await fleet.ask('up')
    stop ??= await world.revoke(PAYMENTS)
    const { epoch } = stop
    const { code } = await world.validate(PAYMENTS)
    must(code === 'DEVICE_REVOKED', `G5, killed ${killed}: ${code}`)
    const aborted = await fleet.ask('aborted', BACK_WITHIN_MS)
    must(aborted.length === replicas, `killed ${killed}: ${replicas - aborted.length} go on unsignalled`)
    const ups = (await fleet.ask('allUp', BACK_WITHIN_MS)).toSorted((a, b) => a - b)
    const moments = ups.map((atMs) => ups.filter((other) => other >= atMs && other < atMs + MOMENT_MS).length)
    const share = Math.max(...moments) / replicas
    must(share <= MAX_SHARE, `${Math.round(share * 100)} % came back within ${MOMENT_MS} ms`)
    const { state } = await eventually(
      () => world.stopOf(epoch),
      (seen) => seen.state === 'confirmed',
    )
    must(state === 'confirmed', `killed ${killed}: it is ${state}`)
    await world.restore(PAYMENTS)
    const since = ups.map((atMs) => atMs - (ups[0] ?? 0))
    rounds.push({
      killed,
      upAtStop,
      aborted: aborted.length,
      backMs: { p50: quantile(since, 0.5), max: quantile(since, 1) },
      mostInOneMoment: rounded(share),
    })
  }
  for (const round of rounds)
    say(`control plane killed ${round.killed}, ${replicas} replicas: ${JSON.stringify(round)}`)
  return { replicas, rounds, problems }
}
