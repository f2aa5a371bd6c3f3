import type { ServerResponse } from 'node:http'

import type { HoldpointError } from '../../errors.ts'
import { startEventStream } from '../../sse.ts'
import { keyProblem } from '../keys.ts'
import { Refusal } from '../refusal.ts'
import type { DecisionReader } from '../store.ts'
import { catchUp } from './lane-catch-up.ts'
import { createLaneEvidence } from './lane-evidence.ts'
import { eventText, HEARTBEAT } from './lane-events.ts'
import { createFanOut } from './lane-fan-out.ts'
import type { LaneStop } from './lane-hits.ts'
import { createStopListeners, type ReplicaName, type StopListener } from './lane-listeners.ts'
import { createSlice, createTurns } from './lane-slice.ts'
import type { StopEvidence, StopReader, StopRecord } from './stop-store.ts'

const HEARTBEAT_MS = 15_000
/** How soon streams end once the store can no longer be trusted. */
const WATCH_MS = 1000
/** What may wait for a reader. */
const MAX_WAITING_BYTES = 64 * 1024
const MAX_PER_ORG = 10_000
const MAX_ACK_AFTER_MS = 5000

export interface StopOpening extends ReplicaName {
  readonly keyKind: StopListener['keyKind']
  readonly deviceIds: readonly string[]
  /** Of the org, as of when the key was read. */
  readonly orgEpoch: number
  /** Stops after it are told first. Undefined: none before now. */
  readonly afterEpoch: number | undefined
}

/** A stream whose replica has opened a newer one, at that time. */
export interface Superseded extends ReplicaName {
  readonly atMs: number
  /** That one is on another node: what this node says of the older one says nothing of it. */
  readonly isElsewhere?: boolean | undefined
}

/** The streams of stops of one lane. Deny only: a restore is never told. */
export interface StopStreams {
  /** Begins one. The same replica's older one ends. Throws `TOO_MANY_STREAMS` or `OVERLOADED`. */
  readonly open: (opening: StopOpening, response: ServerResponse) => void
  /** Told of stops after COMMIT, in the order of their epochs. Costs nothing while nobody of the org listens. */
  readonly stopped: (records: readonly StopRecord[]) => void
  /** Told of a newer one in another lane, or on another node. */
  readonly superseded: (by: Superseded) => void
  /** Stops may have been missed: ends every stream, so that it comes back and is told what it missed. */
  readonly lost: () => void
  /** Ends every stream, and begins no more. Whoever comes back does so after some jitter. */
  readonly close: () => void
  /** Hands over what was observed and is not told yet. */
  readonly flush: () => void
}

export interface StopStreamsOptions {
  readonly reader: DecisionReader
  readonly stops: StopReader
  /** Gets what is to be stored of it, at most 50 ms late. */
  readonly observe: (evidence: StopEvidence) => void
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  /** Why the store can no longer be trusted; undefined while all is well. */
  readonly problem: () => HoldpointError | undefined
  /** Told what could not be read. */
  readonly onFailed: (error: unknown) => void
  /** How often a stream without news shows that it lives, and its key is looked at anew. Default 15,000. */
  readonly heartbeatMs?: number | undefined
  /** Default 10,000. */
  readonly maxPerOrg?: number | undefined
  readonly maxInAll: number
}

export function createStopStreams(options: StopStreamsOptions): StopStreams {
  const { nowMs, onFailed, heartbeatMs = HEARTBEAT_MS, maxPerOrg = MAX_PER_ORG, maxInAll } = options
  const listeners = createStopListeners({ maxPerOrg, maxInAll })
  const evidence = createLaneEvidence(options)
  const catchUpTurn = createTurns()
  let closed = false

  const leave = (listener: StopListener): boolean => {
    listener.live = false
    if (!listeners.remove(listener)) return false
    if (listeners.size() === 0) heart.stop()
    return true
  }
  const gone = (listener: StopListener) => {
    if (leave(listener)) evidence.ended(listener)
  }
  const end = (listener: StopListener) => {
    gone(listener)
    listener.stream.end()
  }
  /** Without evidence: its replica has a newer one, or all end, which the next start of the control plane notes. */
  const endQuietly = (listener: StopListener) => {
    leave(listener)
    listener.stream.end()
  }
  const endAll = () => {
    for (const { all } of listeners.orgs()) for (const listener of all) endQuietly(listener)
  }
  const sendCut = (listener: StopListener, epoch: number): boolean => {
    const isSent = listener.stream.send(eventText({ type: 'key_cut', epoch }))
    listener.stream.finish()
    gone(listener)
    return isSent
  }
  const cutKey = (listener: StopListener, epoch: number) => {
    if (sendCut(listener, epoch)) evidence.told(listener, epoch)
  }

  const tell = (listener: StopListener, stop: LaneStop) => {
    if (stop.epoch <= listener.toldEpoch) return
    if (stop.keyIds.has(listener.keyId)) return cutKey(listener, stop.epoch)
    const deviceIds = listener.deviceIds.filter(stop.hits)
    if (deviceIds.length === 0) return
    listener.toldEpoch = stop.epoch
    const text = stop.textFor(deviceIds, ackAfterMs(listeners.ofOrg(stop.orgId)?.all.size ?? 0))
    if (listener.stream.send(text)) evidence.told(listener, stop.epoch)
  }
  const fanOut = createFanOut({
    listeners,
    tell,
    // A thread that is never done with answering comes to no timer for a while.
    onDone: evidence.flush,
    onOverflow: (orgId) => {
      for (const listener of listeners.ofOrg(orgId)?.all ?? []) end(listener)
    },
  })

  /** A key that ended ends its streams, whoever said so or did not. */
  const beat = async () => {
    const slice = createSlice()
    for (const { byKey } of listeners.orgs()) {
      for (const [keyId, ofKey] of byKey) {
        const found = await options.reader.read(keyId, [])
        const ended = found === undefined ? 'KEY_EXPIRED' : keyProblem(found.key, nowMs())
        for (const listener of ofKey) {
          if (ended === undefined) listener.stream.send(HEARTBEAT)
          // The org's epoch is not that of the burn: it was told of no stop that there is.
          else if (ended === 'KEY_BURNED') sendCut(listener, found?.orgEpoch ?? 0)
          else end(listener)
          if (slice.isOver()) await slice.next()
        }
      }
    }
  }
  const heart = createHeart({
    heartbeatMs,
    beat: () => beat().catch(onFailed),
    watch: () => {
      if (options.problem() !== undefined) endAll()
    },
  })

  return {
    open: (opening, response) => {
      if (closed) throw new Refusal('OVERLOADED', 'This control plane is being stopped. Ask again later.')
      listeners.assertRoom(opening)
      const older = listeners.find(opening)
      if (older !== undefined) endQuietly(older)
      const { orgEpoch, afterEpoch = orgEpoch, ...who } = opening
      const listener: StopListener = {
        ...who,
        openedAtMs: nowMs(),
        stream: startEventStream(response, { maxWaitingBytes: MAX_WAITING_BYTES }),
        // One from another life of the store must not hide what is to come.
        toldEpoch: Math.min(afterEpoch, orgEpoch),
        heardEpoch: 0,
        live: false,
      }
      listeners.add(listener)
      heart.start()
      evidence.opened(listener)
      response.on('close', () => gone(listener))
      const catchingUp = catchUp({
        stops: options.stops,
        turn: catchUpTurn,
        listener,
        response,
        orgEpoch,
        cutKey,
        hello: eventText({ type: 'hello', orgId: who.orgId, heartbeatMs, keyKind: who.keyKind }),
        isOpen: () => listeners.find(listener) === listener,
        onTold: evidence.told,
      })
      catchingUp.catch((error: unknown) => {
        onFailed(error)
        listener.stream.cut()
      })
    },
    stopped: fanOut.put,
    superseded: (by) => {
      const listener = listeners.find(by)
      if (listener === undefined || listener.openedAtMs > by.atMs) return
      if (by.isElsewhere === true) end(listener)
      else endQuietly(listener)
    },
    lost: () => {
      for (const { all } of listeners.orgs()) for (const listener of all) end(listener)
    },
    close: () => {
      closed = true
      endAll()
    },
    flush: evidence.flush,
  }
}

/** Few may answer at once; of many, each after a while that grows with their number. */
function ackAfterMs(streams: number): number | undefined {
  return streams < 50 ? undefined : Math.min(Math.ceil(streams / 4), MAX_ACK_AFTER_MS)
}

/** Runs while anybody listens. */
function createHeart(options: {
  readonly heartbeatMs: number
  readonly beat: () => Promise<void>
  readonly watch: () => void
}) {
  const { heartbeatMs, beat, watch } = options
  let timers: NodeJS.Timeout[] = []
  let beating: Promise<void> | undefined
  return {
    start: () => {
      if (timers.length > 0) return
      const once = () => void (beating ??= beat().finally(() => (beating = undefined)))
      timers = [setInterval(once, heartbeatMs), setInterval(watch, Math.min(WATCH_MS, heartbeatMs))]
      for (const timer of timers) timer.unref()
    },
    stop: () => {
      for (const timer of timers) clearInterval(timer)
      timers = []
    },
  }
}
