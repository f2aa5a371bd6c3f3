// What operators and questions saw from outside, judged by intervals of one clock (G1, G5, G6). A device has one
// operator, who waits for each answer; what it did without an answer may be done, or done later. An answer is wrong
// when nothing that was true between the question and its answer explains it:
//
// - `stale allow`: asked after a stop was acked, answered before the restore of that stop was begun, and allowed. A
//   restore that was sent before the stop, and that nobody knows the end of, is no excuse.
// - `stale epoch`: the answer shows a device as it was before what had been acked when it was asked.
// - `wrong denial`: asked after a restore was acked, answered before another stop was begun, and denied as revoked. Not
//   a danger, but a sign that this looks at the right thing.
// - `refused`: a stop of a device that was registered is refused, as if that had been lost.

export interface Finding {
  readonly what: 'stale allow' | 'stale epoch' | 'wrong denial' | 'refused'
  readonly deviceId: string
  /** Who answered. */
  readonly node: number
  readonly code: string
  readonly epoch: number | undefined
  /** The highest that had been acked when it was asked. */
  readonly ackedEpoch: number
  readonly sinceAckMs: number
}

export interface Decided {
  readonly deviceId: string
  readonly code: string
  readonly epoch: number | undefined
}

/** A question on its way, with what was known when it was sent. */
export interface Asked {
  readonly devices: readonly Before[]
}

interface Before extends Omit<Readonly<DeviceState>, 'deviceId' | 'uncertain' | 'ackedMs'> {
  readonly state: DeviceState
}

interface DeviceState {
  readonly deviceId: string
  /** A stop was acked, and nothing that can undo it was begun. */
  stopped: boolean
  /** A restore was acked, and no stop was begun since. */
  restored: boolean
  /** A stop without an answer can come into force at any time. */
  uncertain: boolean
  stopsBegun: number
  restoresBegun: number
  ackedEpoch: number
  ackedMs: number
}

export interface Oracle {
  readonly stopBegins: (deviceId: string) => void
  readonly stopAcked: (deviceId: string, epoch: number) => void
  /** Nobody knows whether it was done, or will be. */
  readonly stopUnknown: (deviceId: string, why: string) => void
  readonly stopRefused: (deviceId: string, code: string, node: number) => void
  readonly restoreBegins: (deviceId: string) => void
  readonly restoreAcked: (deviceId: string, epoch: number) => void
  /** Right before it is sent. */
  readonly asks: (deviceIds: readonly string[]) => Asked
  /** Right after it was answered. */
  readonly answered: (asked: Asked, decided: readonly Decided[], node: number) => void
  readonly unanswered: (code: string, node: number) => void
  readonly findings: readonly Finding[]
  readonly counts: OracleCounts
}

export interface OracleCounts {
  questions: number
  allows: number
  /** Of devices with an acked stop that nobody had begun to undo: those that could have been wrong. */
  whileStopped: number
  stops: number
  restores: number
  /** Stops without an ack, by what was answered instead. */
  readonly unknownStops: Record<string, number>
  /** Decisions and failures, by code. */
  readonly codes: Record<string, number>
  /** Questions that were answered, by node. */
  readonly byNode: Record<number, number>
}

/** Of a client's own defence against an answer that is older than one it has seen: it hides what this looks for. */
const STALE_CODES = new Set(['AUTHORITY_ROLLBACK', 'AUTHORITY_STALE_ANSWER', 'AUTHORITY_CACHED'])

export function createOracle(nowMs: () => number = () => performance.now()): Oracle {
  const devices = new Map<string, DeviceState>()
  const findings: Finding[] = []
  const counts: OracleCounts = {
    questions: 0,
    allows: 0,
    whileStopped: 0,
    stops: 0,
    restores: 0,
    unknownStops: {},
    codes: {},
    byNode: {},
  }
  const stateOf = (deviceId: string): DeviceState => {
    let state = devices.get(deviceId)
    if (state === undefined) {
      const nothing = { stopsBegun: 0, restoresBegun: 0, ackedEpoch: 0, ackedMs: 0 }
      state = { deviceId, stopped: false, restored: false, uncertain: false, ...nothing }
      devices.set(deviceId, state)
    }
    return state
  }
  const acked = (state: DeviceState, epoch: number) => {
    state.ackedEpoch = Math.max(state.ackedEpoch, epoch)
    state.ackedMs = nowMs()
  }
  const count = (code: string) => (counts.codes[code] = (counts.codes[code] ?? 0) + 1)

  return {
    findings,
    counts,
    stopBegins: (deviceId) => {
      const state = stateOf(deviceId)
      state.stopsBegun += 1
      state.restored = false
    },
    stopAcked: (deviceId, epoch) => {
      const state = stateOf(deviceId)
      state.stopped = true
      acked(state, epoch)
      counts.stops += 1
    },
    stopUnknown: (deviceId, why) => {
      stateOf(deviceId).uncertain = true
      counts.unknownStops[why] = (counts.unknownStops[why] ?? 0) + 1
    },
    stopRefused: (deviceId, code, node) => {
      const { ackedEpoch, ackedMs } = stateOf(deviceId)
      const sinceAckMs = nowMs() - ackedMs
      findings.push({ what: 'refused', deviceId, node, code, epoch: undefined, ackedEpoch, sinceAckMs })
    },
    restoreBegins: (deviceId) => {
      const state = stateOf(deviceId)
      state.restoresBegun += 1
      state.stopped = false
    },
    restoreAcked: (deviceId, epoch) => {
      const state = stateOf(deviceId)
      state.restored = true
      acked(state, epoch)
      counts.restores += 1
    },
    asks: (deviceIds) => ({
      devices: deviceIds.map((deviceId) => {
        const state = stateOf(deviceId)
        const { stopped, restored, stopsBegun, restoresBegun, ackedEpoch } = state
        return { state, stopped, restored, stopsBegun, restoresBegun, ackedEpoch }
      }),
    }),
    answered: (asked, decided, node) => {
      counts.questions += 1
      counts.byNode[node] = (counts.byNode[node] ?? 0) + 1
      for (const [index, decision] of decided.entries()) {
        const before = asked.devices[index]
        if (before?.state.deviceId !== decision.deviceId)
          throw new Error(`an answer about ${decision.deviceId}`)
        const { state, ackedEpoch } = before
        count(decision.code)
        if (decision.code === 'ALLOW') counts.allows += 1
        if (!mayAllow(before)) counts.whileStopped += 1
        for (const what of wrongIn(before, decision))
          findings.push({ what, ...decision, node, ackedEpoch, sinceAckMs: nowMs() - state.ackedMs })
      }
    },
    unanswered: (code, node) => {
      counts.questions += 1
      count(code)
      if (STALE_CODES.has(code)) {
        const nobody = { deviceId: '', epoch: undefined, ackedEpoch: 0, sinceAckMs: 0 }
        findings.push({ what: 'stale epoch', node, code, ...nobody })
      }
    },
  }
}

function mayAllow({ state, stopped, restoresBegun }: Before): boolean {
  return !stopped || state.restoresBegun !== restoresBegun
}

function wrongIn(before: Before, { code, epoch }: Decided): Finding['what'][] {
  const { state, restored, stopsBegun, ackedEpoch } = before
  const mayDeny = !restored || state.stopsBegun !== stopsBegun || state.uncertain
  const wrong: Finding['what'][] = []
  if (code === 'ALLOW' && !mayAllow(before)) wrong.push('stale allow')
  if (epoch !== undefined && epoch < ackedEpoch) wrong.push('stale epoch')
  if (code === 'DEVICE_REVOKED' && !mayDeny) wrong.push('wrong denial')
  return wrong
}
