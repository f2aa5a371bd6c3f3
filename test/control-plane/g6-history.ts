import type { TestControlPlane } from '../fixtures/control-plane.ts'
import { randomFrom } from '../fixtures/random.ts'
import {
  BURNS,
  epochOf,
  EVERY_STOP,
  existsIn,
  formOf,
  isStopped,
  STOPS,
  undoing,
  type Draft,
  type Stop,
} from './g6-moves.ts'
import { createWorld, TARGETS, type Key, type Target, type View, type World } from './g6-world.ts'
import type { Answered } from './late-requests.ts'

// A history by chance: forms are rendered from what is to be seen, sent, and held up; stops are acked; then what was
// held up arrives, in any order, several times, over several connections. What is compared is all there is to see.

/** A request that was sent, and that may arrive at any time from then on. */
interface Form extends Draft {
  readonly sentAt: number
}

export interface History {
  readonly seed: number
  readonly forms: number
  readonly stops: number
  /** Of forms that were sent before a stop was acked, after it. */
  readonly lateDeliveries: number
  /** Of forms that were filled in just before, most with the right epoch, together with the stop itself. */
  readonly racingDeliveries: number
  /** How many restores went through, each sent after the last stop. */
  readonly restores: number
  readonly answers: Readonly<Record<string, number>>
}

/** Throws as soon as anything that was sent before the ack of a stop has changed anything at all. */
export async function playHistory(
  authority: TestControlPlane,
  { seed, deliveries }: { readonly seed: number; readonly deliveries: number },
): Promise<History> {
  const random = randomFrom(seed)
  await using world = await createWorld(authority, random)
  const forms: Form[] = []
  const stoppedAt = new Map<Target, number>()
  const answers: Record<string, number> = {}
  const counts = { stops: 0, lateDeliveries: 0, racingDeliveries: 0, restores: 0 }
  let now = 0

  const send = async (draft: Promise<Draft>): Promise<Form> => {
    const form = { ...(await draft), sentAt: now++ }
    forms.push(form)
    return form
  }
  const render = (view: View, target = random.pick(TARGETS.filter((any) => existsIn(view, any)))) =>
    send(formOf(world, view, target))
  const isLate = ({ sentAt, by, targets, exception }: Form) => {
    if (by.burnedAt !== undefined && by.burnedAt >= sentAt) return true
    return (
      !exception && targets.length > 0 && targets.every((target) => (stoppedAt.get(target) ?? -1) >= sentAt)
    )
  }
  const deliverAll = async (all: readonly Buffer[]) => {
    const answered = await Promise.all(random.shuffled(all).map(world.deliver))
    for (const answer of answered) {
      const word = wordOf(answer)
      answers[word] = (answers[word] ?? 0) + 1
    }
    return answered
  }
  const acked = (targets: readonly Target[], burned?: Key) => {
    counts.stops++
    for (const target of targets) stoppedAt.set(target, now)
    if (burned !== undefined) burned.burnedAt = now
    now++
  }

  /** What was sent before a stop arrives after it: nothing at all may change. */
  const arriveLate = async (late: readonly Form[], copies: () => number) => {
    const before = await world.look()
    const all = late.flatMap(({ bytes }) => Array<Buffer>(copies()).fill(bytes))
    const answered = await deliverAll(all)
    counts.lateDeliveries += all.length
    for (const answer of answered) assertChangedNothing(answer)
    assertSame(before, await world.look())
  }

  /** A stop, and restores filled in just before it, all at once: once the stop is acked, it holds. */
  const race = async (view: View, stop = random.pick(random.chance(0.9) ? STOPS : BURNS)(world, view)) => {
    const racing = await Promise.all(
      stop.targets.filter((target) => existsIn(view, target)).map((target) => render(view, target)),
    )
    const bytes = await world.capture({ method: 'POST', by: stop.by, ...stop.asked })
    const copies = racing.flatMap((form) => Array<Buffer>(1 + random.int(3)).fill(form.bytes))
    const exceptions = racing.some(({ exception }) => exception)
    const [answer] = await Promise.all([world.deliver(bytes), deliverAll(exceptions ? [] : copies)])
    if (!exceptions) counts.racingDeliveries += copies.length
    acked(stop.targets, stop.burns)
    const after = await world.look()
    assertHolds(stop, answer, after)
    return { stop, after }
  }

  /** The same stop once more, after somebody has looked at the first one and filled in what undoes it. */
  const repeat = async ({ stop, after }: { readonly stop: Stop; readonly after: View }) => {
    for (const target of stop.targets) await send(undoing(world, after, target))
    await race(after, stop)
  }

  /** Somebody who has looked takes back one of the stops that are in force. */
  const restore = async (view: View) => {
    const stopped = TARGETS.filter((target) => isStopped(view, target))
    if (stopped.length === 0) return
    const { bytes } = await send(undoing(world, view, random.pick(stopped)))
    const [answer] = await deliverAll([bytes])
    if (answer?.statusCode !== 200) throw new Error(`a restore was refused: ${JSON.stringify(answer)}`)
    counts.restores++
  }

  while (counts.lateDeliveries < deliveries) {
    let view = await world.look()
    for (let times = random.int(5); times > 0; times--) await render(view)
    for (; random.chance(0.7); view = await world.look()) await restore(view)
    for (let times = random.int(4); times > 0; times--) await render(view)
    const first = await race(view)
    if (first.stop.burns === undefined && random.chance(0.5)) await repeat(first)
    else if (random.chance(0.3)) await race(first.after)
    const late = forms.filter(isLate)
    const some = late.slice(-15).concat(random.shuffled(late).slice(0, 5))
    await arriveLate(some, () => 1 + random.int(3))
    await replenish(world)
  }

  // The last word is a stop of everything; then every form there ever was arrives once more.
  for (const { path, body } of EVERY_STOP) await world.act(path, body)
  acked(TARGETS)
  const all = random.shuffled(forms.filter(isLate))
  for (let at = 0; at < all.length; at += 200) await arriveLate(all.slice(at, at + 200), () => 1)
  return { seed, forms: forms.length, ...counts, answers }
}

const KEYS = { operator: 2, admin: 2, full: 1, runtime: 1 } as const

/** A new key for each that was burned. */
async function replenish({ liveKeys, addKey }: World): Promise<void> {
  for (const kind of ['operator', 'admin', 'full', 'runtime'] as const) {
    while (liveKeys(kind).length < KEYS[kind]) await addKey(kind)
  }
}

function wordOf({ statusCode, body }: Answered): string {
  return `${statusCode} ${String(body.code ?? body.status)}`
}

const REFUSED = new Set([
  '401 KEY_BURNED',
  '403 DEVICE_REMOVED',
  '403 DEVICE_REVOKED',
  '404 LOCK_NOT_FOUND',
  '409 EPOCH_STALE',
  '428 EPOCH_REQUIRED',
])

function assertChangedNothing(answer: Answered): void {
  if (REFUSED.has(wordOf(answer))) return
  const { statusCode, body } = answer
  if (statusCode === 200 && (body.status === 'exists' || body.changed === 0)) return
  throw new Error(`G6: what was sent before the stop was answered ${JSON.stringify(answer)}`)
}

function assertSame(before: View, after: View): void {
  const [left, right] = [JSON.stringify(before), JSON.stringify(after)]
  if (left !== right) throw new Error(`G6: what was sent before the stop has changed\n${left}\nto\n${right}`)
}

/** Everything that was stopped is denied, and has the epoch that the ack told: nothing came after it. */
function assertHolds({ targets, burns }: Stop, { statusCode, body }: Answered, view: View): void {
  const context = `${JSON.stringify({ statusCode, body, targets })}\n${JSON.stringify(view)}`
  if (statusCode !== 200) throw new Error(`a stop was refused: ${context}`)
  if (burns !== undefined) return
  for (const target of targets) {
    const acked = Number(body.epoch ?? body.orgEpoch)
    if (!isStopped(view, target) || epochOf(view, target) !== acked)
      throw new Error(`G6: an acked stop does not hold: ${context}`)
  }
}
