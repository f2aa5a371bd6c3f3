import { PATHS } from '../../src/machineid/paths.ts'
import { randomFrom } from '../fixtures/random.ts'
import type { HttpAnswer, Node, Org } from './cluster.ts'
import type { ProofOptions } from './prove-reads.ts'
import { insist } from './traffic.ts'
import { begin, rounded, type ProofResult } from './result.ts'

const AT_ONCE = 16
const CAP = 20

/**
 * G7: again and again 16 registers at once over all nodes, now and then two of the same device, where there is room for
 * some of them. As many are admitted as there was room for. Then some are removed, so that it can go on.
 */
export async function proveCaps(options: ProofOptions & { readonly rounds: number }): Promise<ProofResult> {
  const { cluster, seed, rounds, say = () => {} } = options
  const { nodes } = cluster
  const { must, result } = begin('caps', seed)
  const random = randomFrom(seed)
  const org = await cluster.newOrg(CAP)
  // Calls are limited for each key: so many take many keys.
  const keys = await moreKeys(options, org)
  const admitted: string[] = []
  const counts = { registers: 0, admitted: 0, refused: 0, same: 0, removed: 0, fullRounds: 0 }
  const post = (path: string, body: object) =>
    random.pick(nodes).operate(path, body, { key: random.pick(keys) })

  for (let round = 1; round <= rounds; round++) {
    const room = CAP - admitted.length
    const deviceIds = Array.from({ length: AT_ONCE }, (_, index) => {
      const same = index > 0 && random.chance(0.1)
      return `nodes:caps:${seed}:${round}-${same ? index - 1 : index}`
    })
    const different = [...new Set(deviceIds)]
    const answers = await Promise.all(
      deviceIds.map(async (deviceId) => ({
        deviceId,
        answer: await insist(() => post(PATHS.register, { deviceId })),
      })),
    )
    for (const { answer } of answers) {
      const { status, body } = answer
      if (status === 200) {
        if (body.status === 'exists') counts.same += 1
        continue
      }
      counts.refused += 1
      const refused = status === 403 && body.error === 'device_limit_reached'
      must(refused, `round ${round}, register: ${status} ${JSON.stringify(body)}`)
    }
    counts.registers += answers.length
    const inRound = new Set(
      answers.filter(({ answer }) => answer.status === 200).map(({ deviceId }) => deviceId),
    )
    admitted.push(...inRound)
    const expected = Math.min(different.length, room)
    must(
      inRound.size === expected,
      `round ${round}: ${inRound.size} of ${different.length} admitted, room for ${room}`,
    )
    const usage = await insist(() =>
      random.pick(nodes).operate(PATHS.usage, undefined, { key: random.pick(keys) }),
    )
    const used = usedOf(usage)
    must(used === admitted.length, `round ${round}: ${used} used, ${admitted.length} admitted`)
    counts.admitted += inRound.size
    if (admitted.length === CAP) counts.fullRounds += 1
    const leaving = random.shuffled(admitted).slice(0, 1 + random.int(admitted.length))
    await Promise.all(
      leaving.map(async (deviceId) => {
        const { status, body } = await insist(() => post(PATHS.remove, { deviceId }))
        must(status === 200, `round ${round}, remove: ${status} ${JSON.stringify(body)}`)
      }),
    )
    counts.removed += leaving.length
    const left = new Set(leaving)
    admitted.splice(0, admitted.length, ...admitted.filter((deviceId) => !left.has(deviceId)))
    if (round % 1000 === 0) say(`${round} rounds`)
  }
  must(counts.fullRounds > 0, 'the plan was never full')
  must(counts.refused > 0, 'nothing was refused')
  return result({ rounds, cap: CAP, ...counts, perRound: rounded(counts.registers / rounds) })
}

/** As many devices as the org itself counts. */
function usedOf({ body }: HttpAnswer): number {
  return Number(body.devicesUsed)
}

async function moreKeys({ cluster }: ProofOptions, { keys }: Org): Promise<readonly string[]> {
  const first = cluster.nodes[0] as Node
  const made = Array.from({ length: 12 }, async () => {
    const { status, body } = await insist(() =>
      first.operate(PATHS.keys, { kind: 'full' }, { key: keys.full }),
    )
    if (status !== 200) throw new Error(`key: ${status} ${JSON.stringify(body)}`)
    return String(body.key)
  })
  return [keys.full, ...(await Promise.all(made))]
}
