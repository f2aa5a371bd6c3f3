import { parentPort, workerData, type MessagePort } from 'node:worker_threads'

import { createAgentLane, type AgentLane } from '../control-plane/agent-lane.ts'
import { errorAnswerer } from '../control-plane/api-errors.ts'
import { createForward } from '../control-plane/forward.ts'
import { systemClock } from '../clock.ts'
import { uuidv7 } from '../control-plane/ids.ts'
import { storeAway } from '../control-plane/nodes/nodes.ts'
import { createThreadClock } from '../control-plane/nodes/store-clock.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { listen } from '../http.ts'
import { createLogger } from '../log.ts'
import { openDecisionReaderOf } from '../store/decision-source.ts'
import type { FromLane, LaneSettings, ToLane } from './lane-messages.ts'

// The entry of a thread that serves one agent lane, with a read connection of its own. See lanes.ts.

function createLane(settings: LaneSettings, port: MessagePort) {
  const tell = (message: FromLane) => port.postMessage(message)
  const { level, name } = settings.log
  const log = createLogger(name === undefined ? { level } : { level, name })
  const onUnknown = () => tell({ kind: 'unknown' })
  const { reader, stops, learn, close: closeReader } = openDecisionReaderOf(settings.source, onUnknown)
  const clock = settings.clockOffset === undefined ? systemClock : createThreadClock(settings.clockOffset)
  const newId = () => uuidv7(Math.floor(clock.now().wallMs))
  const onError = errorAnswerer({ log, newId, tellFatal: () => {} })
  const forward = createForward({ ...settings.inner, onError })
  const delivering = new Map<number, () => void>()
  let delivered = 0

  const lane: AgentLane = createAgentLane({
    ...settings,
    clock,
    nodes: () => Atomics.load(settings.nodesCounted, 0),
    storeAway: () => storeAway(settings.nodesCounted),
    reader,
    stops,
    forward: forward.listener,
    log,
    deliver: (batch) =>
      new Promise((resolve) => {
        delivering.set(++delivered, resolve)
        tell({ kind: 'batch', id: delivered, batch })
      }),
    observe: (evidence) => tell({ kind: 'evidence', evidence }),
    problem: () => (Atomics.load(settings.suspect, 0) === 0 ? undefined : NOT_TRUSTED),
    onSuspect: ({ code, message }) => {
      // Every thread knows at once, however busy the main one is.
      Atomics.store(settings.suspect, 0, 1)
      tell({ kind: 'suspect', code, message })
    },
    onReport: (report) => tell({ kind: 'report', report }),
  })
  const close = async (graceMs: number | undefined) => {
    await lane.close(graceMs === undefined ? {} : { graceMs })
    forward.close()
    await closeReader()
    // Nothing is left to wait for: the thread ends.
    port.close()
  }
  const hear: { [K in ToLane['kind']]: (message: Extract<ToLane, { kind: K }>) => void } = {
    stored: ({ id }) => {
      delivering.get(id)?.()
      delivering.delete(id)
    },
    stops: (message) => lane.stopped(message.stops),
    superseded: ({ by }) => lane.superseded(by),
    lost: () => lane.lost(),
    cut: ({ cut }) => lane.cut(cut),
    learned: ({ learned }) => learn(learned),
    close: ({ graceMs }) => void close(graceMs),
  }
  port.on('message', (message: ToLane) => hear[message.kind](message as never))
  return { server: lane.server, tell, close }
}

const NOT_TRUSTED = new HoldpointError(
  'STORE_SUSPECT',
  'The store can no longer be trusted, so nothing is answered. The log of the control plane says why.',
)

async function serve(settings: LaneSettings, port: MessagePort): Promise<void> {
  const lane = createLane(settings, port)
  try {
    const { url, port: bound } = await listen(lane.server, settings.address)
    lane.tell({ kind: 'listening', url, port: bound })
  } catch (error) {
    const code = error instanceof HoldpointError ? error.code : 'LANE_FAILED'
    lane.tell({ kind: 'failed', code, message: messageOf(error) })
    await lane.close(0)
  }
}

if (parentPort !== null) await serve(workerData as LaneSettings, parentPort)
