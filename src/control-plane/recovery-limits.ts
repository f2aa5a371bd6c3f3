import type { LimitStore } from './nodes/node-store.ts'
import { createRateLimit } from './rate-limit.ts'
import { Refusal } from './refusal.ts'
import { networkOf } from './remote-address.ts'

/** From one network, and from everywhere: that many at once, then one a minute, or one a second. */
const NETWORK = { burst: 10, perSecond: 1 / 60 }
const EVERYWHERE = { burst: 300, perSecond: 1 }
const LINKS_PER_ADDRESS = 3
const ADDRESS_WINDOW_MS = 3_600_000
const MAX_ADDRESSES = 10_000

/** Throws `RATE_LIMITED`, whatever is asked for. One network cannot use up what is there for everybody. */
export function createRequestLimit(nowMs: () => number): (origin: string | null) => void {
  const networks = createRateLimit({ ...NETWORK, nowMs })
  const everywhere = createRateLimit({ ...EVERYWHERE, nowMs })
  return (origin) => {
    const waitMs = networks.take(networkOf(origin ?? 'unknown')) || everywhere.take('')
    if (waitMs > 0) throw tooOften(waitMs)
  }
}

/** The same over all nodes: `local` goes first, so that no flood reaches the store. Rejects with `RATE_LIMITED`. */
export function createSharedRequestLimit(
  { takeToken }: LimitStore,
  what: 'recovery' | 'bad_link',
  local: (origin: string | null) => void,
): (origin: string | null) => Promise<void> {
  return async (origin) => {
    local(origin)
    const network = { name: `${what}:network`, id: networkOf(origin ?? 'unknown'), ...NETWORK }
    const waitMs =
      (await takeToken(network)) || (await takeToken({ name: `${what}:everywhere`, id: '', ...EVERYWHERE }))
    if (waitMs > 0) throw tooOften(waitMs)
  }
}

function tooOften(waitMs: number): Refusal {
  const retryAfterSeconds = Math.ceil(waitMs / 1000)
  return new Refusal(
    'RATE_LIMITED',
    `Recovery is asked for too often. Ask again after ${retryAfterSeconds} s.`,
    { retryAfterSeconds },
  )
}

/**
 * True while an address may be sent another mail: three in any hour. Only addresses that own something are asked
 * about, so that nobody can push others out of memory.
 */
export function createAddressLimit(nowMs: () => number): (address: string) => boolean {
  const sent = new Map<string, readonly number[]>()
  return (address) => {
    const atMs = nowMs()
    const recent = (sent.get(address) ?? []).filter((sentAtMs) => atMs - sentAtMs < ADDRESS_WINDOW_MS)
    if (recent.length >= LINKS_PER_ADDRESS) return false
    // Put at the end: the first one is then always the one that was sent something the longest ago.
    sent.delete(address)
    sent.set(address, [...recent, atMs])
    const [oldest] = sent.keys()
    if (sent.size > MAX_ADDRESSES && oldest !== undefined) sent.delete(oldest)
    return true
  }
}

/** The same over all nodes. */
export function createSharedAddressLimit({ takeMail }: LimitStore): (address: string) => Promise<boolean> {
  return (address) => takeMail(address, { atMost: LINKS_PER_ADDRESS, withinMs: ADDRESS_WINDOW_MS })
}
