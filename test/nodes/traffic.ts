// Operators and askers at work on all nodes at once, under the eyes of an oracle. Each device has one operator, who
// stops it and restores it again, each time on a node that chance picks; questions come from the client that agents
// use, one for each node. What chance picks follows the seed; what comes before what does not.

import { setTimeout as delay } from 'node:timers/promises'

import { PATHS } from '../../src/machineid/paths.ts'
import { MachineID } from '../../src/machineid/client.ts'
import type { Answer } from '../../src/guard/authority.ts'
import { randomFrom, type Random } from '../fixtures/random.ts'
import type { Cluster, HttpAnswer, Node } from './cluster.ts'
import { createOracle, type Decided, type Oracle } from './oracle.ts'

export interface TrafficOptions {
  readonly cluster: Cluster
  /** Of its devices, `nodes:NAME:0`, `nodes:NAME:1`, …: no other on this cluster has the same. */
  readonly name: string
  readonly seed: number
  /** How many devices are stopped and restored, each by its own operator. Default 8. */
  readonly operators?: number
  /** How many ask all the time. Default 8. */
  readonly askers?: number
  /** The longest rest of an asker between two questions, in milliseconds. Default 0. */
  readonly askRestMs?: number
  /** The longest rest of an operator between two changes, in milliseconds. Default 20. */
  readonly restMs?: number
  /** Broken on purpose, which must be found: answers of a node are given again for so long. */
  readonly cacheMs?: number
}

export interface Traffic extends AsyncDisposable {
  readonly oracle: Oracle
  readonly deviceIds: readonly string[]
  /** One question to that node, judged. Its code, or that of the first device that is denied. */
  readonly ask: (node: Node, deviceIds: readonly string[]) => Promise<string>
  /** The same without a limit of time, over plain HTTP. */
  readonly askPatiently: (node: Node, deviceIds: readonly string[]) => Promise<string>
  /** Stops it, on one node after the other until one has acked. The epoch; undefined where it was refused or nobody waits for it. */
  readonly stop: (deviceId: string, nodes?: readonly Node[]) => Promise<number | undefined>
  /** True when it was acked. */
  readonly restore: (deviceId: string, ifEpoch: number, nodes?: readonly Node[]) => Promise<boolean>
  /** Lets what was begun come to its end. */
  readonly end: () => Promise<void>
}

/** Beside what a proof breaks: enough to see it, and not so much that nothing else gets on. */
export const BESIDE = { operators: 4, askers: 4, askRestMs: 10 } as const

/** After no answer: nobody asks as fast as nothing comes back. */
const AFTER_FAILURE_MS = 10
const TIMEOUT_MS = 3000
/** A cluster that has not recovered by then acks nothing any more, which other parts of a proof tell. */
const END_WITHIN_MS = 20_000

export async function startTraffic(options: TrafficOptions): Promise<Traffic> {
  const { cluster, name, seed, operators = 8, askers = 8, askRestMs = 0, restMs = 20, cacheMs } = options
  const { nodes, keys, orgId } = cluster
  const random = randomFrom(seed)
  const oracle = createOracle()
  const clients = nodes.map(
    ({ url, index }) =>
      new MachineID({
        orgKey: keys.runtime,
        baseUrl: url,
        timeoutMs: TIMEOUT_MS,
        orgId,
        replica: `${name}/${index}`,
      }),
  )
  const deviceIds = Array.from({ length: operators }, (_, index) => `nodes:${name}:${index}`)
  await registerAll(cluster, deviceIds)
  let running = true
  /** Then nobody insists any more. */
  let abandoned = false

  const judge = async (node: Node, deviceIds: readonly string[], question: () => Promise<Judged>) => {
    const asked = oracle.asks(deviceIds)
    const answer = await question()
    if (typeof answer === 'string') {
      oracle.unanswered(answer, node.index)
      return answer
    }
    oracle.answered(asked, answer, node.index)
    return answer.find(({ code }) => code !== 'ALLOW')?.code ?? 'ALLOW'
  }
  const cached = new Map<string, { readonly atMs: number; readonly answer: Judged }>()
  const askClient = async (node: Node, deviceIds: readonly string[]): Promise<Judged> => {
    const question = `${node.index} ${deviceIds.join()}`
    const known = cached.get(question)
    if (cacheMs !== undefined && known !== undefined && performance.now() < known.atMs + cacheMs)
      return known.answer
    const client = clients[node.index] as MachineID
    const answer = judgedOf(await client.ask({ deviceIds, boundary: 'tool', timeoutMs: TIMEOUT_MS }))
    if (cacheMs !== undefined) cached.set(question, { atMs: performance.now(), answer })
    return answer
  }
  const ask: Traffic['ask'] = (node, deviceIds) => judge(node, deviceIds, () => askClient(node, deviceIds))
  const askPatiently: Traffic['askPatiently'] = (node, deviceIds) =>
    judge(node, deviceIds, async () => judgedOfHttp(await node.ask(deviceIds)))

  const stop: Traffic['stop'] = async (deviceId, on = nodes) => {
    for (;;) {
      const node = random.pick(on)
      oracle.stopBegins(deviceId)
      const answer = await node.operate(PATHS.revoke, { deviceId, reason: 'proof' }, 'stop').catch(noAnswer)
      if (answer.status === 200) {
        const epoch = Number(answer.body.epoch)
        oracle.stopAcked(deviceId, epoch)
        return epoch
      }
      if (!isUnknown(answer)) {
        oracle.stopRefused(deviceId, whyOf(answer), node.index)
        return undefined
      }
      oracle.stopUnknown(deviceId, whyOf(answer))
      if (abandoned) return undefined
      await delay(AFTER_FAILURE_MS)
    }
  }
  const restore: Traffic['restore'] = async (deviceId, ifEpoch, on = nodes) => {
    oracle.restoreBegins(deviceId)
    const answer = await random
      .pick(on)
      .operate(PATHS.unrevoke, { deviceId, ifEpoch }, 'full')
      .catch(noAnswer)
    if (answer.status !== 200) return false
    oracle.restoreAcked(deviceId, Number(answer.body.epoch))
    return true
  }

  /** All nodes at the same time, as soon as something was acked: then a stale one is caught. */
  const look = (deviceId: string) => Promise.all(nodes.map((node) => ask(node, [deviceId])))
  const rest = (own: Random) => (own.chance(0.3) ? undefined : delay(own.int(restMs + 1)))
  const operate = async (deviceId: string, own: Random) => {
    while (running) {
      const epoch = await stop(deviceId)
      if (epoch === undefined) return
      await look(deviceId)
      await rest(own)
      // Without an answer, or with a stop that came late: it is stopped anew.
      if (!(await restore(deviceId, epoch))) continue
      await look(deviceId)
      await rest(own)
    }
  }
  const askOn = async (own: Random) => {
    while (running) {
      const some = own.shuffled(deviceIds).slice(0, 1 + own.int(Math.min(3, deviceIds.length)))
      const code = await ask(own.pick(nodes), some)
      if (code.startsWith('AUTHORITY_')) await delay(AFTER_FAILURE_MS)
      else if (askRestMs > 0) await delay(own.int(askRestMs + 1))
    }
  }
  const working = [
    ...deviceIds.map((deviceId) => operate(deviceId, randomFrom(random.int(2 ** 31)))),
    ...Array.from({ length: askers }, () => askOn(randomFrom(random.int(2 ** 31)))),
  ]
  const all = Promise.all(working)
  // Looked at by `end`.
  all.catch(() => {})
  const end = async () => {
    running = false
    const enough = setTimeout(() => (abandoned = true), END_WITHIN_MS)
    await all.finally(() => clearTimeout(enough))
  }
  return {
    oracle,
    deviceIds,
    ask,
    askPatiently,
    stop,
    restore,
    end,
    [Symbol.asyncDispose]: async () => {
      running = false
      abandoned = true
      await all.catch(() => {})
      await Promise.all(clients.map((client) => client.close()))
    },
  }
}

/** On all nodes, a few at a time. Throws unless each is admitted in the end. */
export async function registerAll(
  { nodes, keys }: Pick<Cluster, 'nodes' | 'keys'>,
  deviceIds: readonly string[],
): Promise<void> {
  const left = [...deviceIds]
  const register = async (node: Node) => {
    for (let deviceId = left.pop(); deviceId !== undefined; deviceId = left.pop()) {
      const { status, body } = await insist(() =>
        node.operate(PATHS.register, { deviceId }, { key: keys.full }),
      )
      if (status !== 200) throw new Error(`register: ${status} ${JSON.stringify(body)}`)
    }
  }
  await Promise.all([...nodes, ...nodes].map(register))
}

/** What is safe to send twice, until there is an answer that is one: a busy machine is no finding. */
export async function insist(send: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
  const endMs = performance.now() + INSIST_MS
  for (;;) {
    const answer = await send().catch(noAnswer)
    if (!isUnknown(answer) || performance.now() > endMs) return answer
    await delay(AFTER_FAILURE_MS)
  }
}
const INSIST_MS = 10_000

/** Decisions, or why there are none. */
type Judged = readonly Decided[] | string

function judgedOf(answer: Answer): Judged {
  if (!answer.answered) return answer.code
  return answer.decisions.map((decision) => ({
    deviceId: decision.deviceId,
    epoch: decision.epoch,
    code: decision.allowed ? 'ALLOW' : decision.code,
  }))
}

export function judgedOfHttp({ status, body }: HttpAnswer): Judged {
  return status === 200 ? (body as { decisions: Decided[] }).decisions : `HTTP_${status}`
}

/** It may be done, or be done later. */
function isUnknown({ status }: HttpAnswer): boolean {
  return status === 503 || status === 0
}

/** In place of an answer. */
export function noAnswer(thrown: unknown): HttpAnswer {
  return { status: 0, body: { code: thrown instanceof Error ? thrown.name : 'no answer' } }
}

/** For example `503 STORE_UNAVAILABLE`. */
export function whyOf({ status, body }: HttpAnswer): string {
  return `${status} ${String((body as { code?: string } | undefined)?.code)}`
}
