import { execFileSync } from 'node:child_process'

import { PATHS } from '../../src/machineid/paths.ts'
import { end, quantile, start, type Forked } from '../bench/processes.ts'
import type { SocketsApi, SocketsSettings } from '../bench/stops-sockets.ts'
import { machineMs, remoteOf, type Remote } from '../../demo/fleet/remote.ts'
import { eventually, PAYMENTS, residentMb, startFleet, startStopsWorld } from './stops-world.ts'

const IDLE = 'idle:bench:a:01'
const QUIET = 'openai-agent:bench:email:01'
/** As much as one stop can say: the devices of a slow reader. */
const MANY = Array.from({ length: 64 }, (_, index) => `slow:${'x'.repeat(100)}:a:${index}`)
const SLOW_PATTERN = `slow:${'x'.repeat(100)}:*`
const SLOW = 4
const GUARDS = 4
const VALIDATES = 200
const HOLDERS = 2
/** What the kernel takes for a slow reader before the control plane has to keep anything, and some. */
const MAX_SLOW_STOPS = 4000
/** Of the whole control plane: per idle stream, and for everything else. */
const MAX_KB_PER_STREAM = 40
const MAX_GROWTH_MB = 200

export interface ProofOptions {
  readonly say?: (text: string) => void
}

/** Descriptors that one process may have open. */
function maxOpenFiles(): number {
  const told = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
  return told === 'unlimited' ? Number.POSITIVE_INFINITY : Number(told)
}

/** Why so many streams cannot be tried here. */
export function tooFewFiles(streams: number): string | undefined {
  const most = maxOpenFiles()
  if (most >= streams + 500) return undefined
  return `${streams} streams take ${streams + 500} open files in one process, and ulimit -n says ${most}.`
}

const rounded = (value: number) => Math.round(value * 10) / 10
const latency = (ms: readonly number[]) => ({
  p50: rounded(quantile(ms, 0.5)),
  p99: rounded(quantile(ms, 0.99)),
  max: rounded(quantile(ms, 1)),
})

interface Sockets {
  readonly child: Forked<{ readonly open: number }>
  readonly ask: Remote<SocketsApi>
}

/**
 * Idle streams, and slow readers that stops are told to all the while: memory stays bounded, whoever does not read is
 * hung up on, the others get their stops, and questions are answered.
 */
export async function proveIdle({ streams, say = () => {} }: ProofOptions & { readonly streams: number }) {
  const skipped = tooFewFiles(streams)
  if (skipped !== undefined) {
    say(`Not tried: ${skipped}`)
    return { skipped, problems: [] }
  }
  const problems: string[] = []
  const must = (fits: boolean, otherwise: string) => void (fits || problems.push(otherwise))
  await using world = await startStopsWorld()
  const { url, keys } = world
  await using fleet = await startFleet(world, { name: 'guards', count: GUARDS })
  await world.operate(PATHS.register, { deviceId: QUIET })
  const open = async (
    some: Pick<SocketsSettings, 'name' | 'count' | 'devices' | 'slow'>,
  ): Promise<Sockets> => {
    const child = await start<{ open: number }>('stops-sockets.ts', [
      JSON.stringify({ url, key: keys.runtime, ...some } satisfies SocketsSettings),
    ])
    return { child, ask: remoteOf<SocketsApi>(child.process) }
  }
  const resident = () => residentMb(world.pid())
  const validates = async (enough: (count: number) => boolean) => {
    const ms: number[] = []
    while (!enough(ms.length)) {
      const { code, ms: took } = await world.validate(QUIET)
      must(code === 'ALLOW', `a question about a device that is not stopped: ${code}`)
      ms.push(took)
    }
    return latency(ms)
  }
  const some = (count: number) => count >= VALIDATES

  await validates(some)
  const beforeMb = await resident()
  const alone = await validates(some)
  // With the slow, the quick and the guards as many as one org may have.
  const idleCount = streams - SLOW - 1 - GUARDS
  const holders = await Promise.all(
    Array.from({ length: HOLDERS }, (_, index) =>
      open({
        name: `idle-${index}`,
        count: Math.ceil((idleCount - index) / HOLDERS),
        devices: [IDLE],
      }),
    ),
  )
  const opened = holders.reduce((sum, { child }) => sum + child.ready.open, 0)
  must(opened === idleCount, `${opened} of ${idleCount} idle streams are open`)
  const idleMb = await resident()
  const kbPerStream = rounded(((idleMb - beforeMb) * 1024) / opened)
  const withIdle = await validates(some)
  say(`${opened} idle streams: resident ${rounded(beforeMb)} → ${rounded(idleMb)} MB, ${kbPerStream} KB each`)

  const slow = await open({ name: 'slow', count: SLOW, devices: MANY, slow: true })
  const quick = await open({ name: 'quick', count: 1, devices: MANY })
  const slowUp = async () =>
    (await world.replicas()).filter(({ replica, stream }) => replica.startsWith('slow/') && stream === 'up')
      .length
  must((await slowUp()) === SLOW, 'the slow readers are not there')
  let told = 0
  let mostMb = idleMb
  let slowLeft = SLOW
  const stopping = async () => {
    while (slowLeft > 0 && told < MAX_SLOW_STOPS) {
      for (let burst = 0; burst < 100; burst++) {
        await world.operate(PATHS.locks, { pattern: SLOW_PATTERN, reason: 'proof' }, 'operator')
        told += 1
      }
      mostMb = Math.max(mostMb, await resident())
      slowLeft = await slowUp()
    }
  }
  let stopped = false
  const [whileStopping] = await Promise.all([
    validates((count) => stopped && count > 0),
    stopping().finally(() => (stopped = true)),
  ])
  must(slowLeft === 0, `${slowLeft} of ${SLOW} slow readers are not hung up on after ${told} stops`)
  const quickTold = await eventually(
    () => quick.ask('stops'),
    (count) => count >= told,
  )
  must(quickTold === told, `who reads was told ${quickTold} of ${told} stops`)
  const cameBack = await quick.ask('cameBack')
  must(mostMb - idleMb <= MAX_GROWTH_MB, `${rounded(mostMb - idleMb)} MB more while readers were slow`)
  say(
    `${SLOW} slow readers, hung up on within ${told} stops of 64 devices each: at most ${rounded(mostMb)} MB`,
  )

  say(`who reads was told of each of them once, and came back ${cameBack} times`)

  await fleet.ask('call')
  const revoked = await world.revoke(PAYMENTS)
  const aborted = await fleet.ask('aborted', 10_000)
  must(aborted.length === GUARDS, `${aborted.length} of ${GUARDS} guards were told`)
  const abortedMs = rounded(Math.max(...aborted) - revoked.ackMs)

  const all = await world.operate(PATHS.locks, { pattern: IDLE, reason: 'proof' }, 'operator')
  const toldOf = async () => {
    const each = await Promise.all(holders.map(({ ask }) => ask('told', all.epoch)))
    return each.reduce((sum, one) => sum + one, 0)
  }
  const idleTold = await eventually(toldOf, (count) => count === opened, 30_000)
  const idleToldMs = rounded(machineMs() - all.ackMs)
  must(idleTold === opened, `${idleTold} of ${opened} idle streams were told of their stop`)
  const afterMb = await resident()
  must(kbPerStream <= MAX_KB_PER_STREAM || streams < 5000, `${kbPerStream} KB for an idle stream`)
  say(`a stop of another device was told after ${abortedMs} ms, one of all ${opened} after ${idleToldMs} ms`)
  say(
    `questions: alone p99 ${alone.p99} ms, with idle streams ${withIdle.p99}, during the stops ${whileStopping.p99}`,
  )
  await Promise.all([...holders, slow, quick].map(({ child }) => end(child)))
  return {
    streams,
    idle: opened,
    residentMb: [beforeMb, idleMb, mostMb, afterMb].map(rounded),
    kbPerStream,
    stopsToSlow: told,
    cameBack,
    abortedMs,
    idleToldMs,
    validateMs: { alone, withIdle, whileStopping },
    problems,
  }
}
