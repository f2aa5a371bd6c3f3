import {
  createControlPlane,
  type ControlPlane,
  type ControlPlaneOptions,
} from '../control-plane/control-plane.ts'
import { createInnerListener, newLaneSecret } from '../control-plane/forward.ts'
import { VALIDATE_LIMITS, type ValidateLimits } from '../control-plane/limits.ts'
import { SERVER_LIMITS } from '../control-plane/server-limits.ts'
import { closeServer, createWebServer, listen } from '../http.ts'
import type { DecisionSource } from '../store/decision-source.ts'
import type { LaneTells, ToLane } from './lane-messages.ts'
import { startLanes, type Lanes } from './lanes.ts'
import { namingPort } from './lifecycle.ts'

export interface ServeOptions extends ControlPlaneOptions {
  /** Where `store` is: each lane reads it by connections of its own. */
  readonly source: DecisionSource
  readonly host: string
  /** Of the agent lanes. 0 takes a free one. */
  readonly port: number
  readonly operatorPort: number
  /** How many threads answer validates. Default 1. */
  readonly workers?: number | undefined
  readonly limits?: ValidateLimits | undefined
  /** Of streams of stops, in milliseconds. Default 15,000. */
  readonly stopHeartbeatMs?: number | undefined
  /** Told when a lane ends without being asked to. End the process: no validate is answered any more. */
  readonly onDied: (error: unknown) => void
}

export interface ServedControlPlane {
  /** Of the agent lanes. */
  readonly url: string
  readonly operatorUrl: string
  readonly controlPlane: ControlPlane
  /** Lanes first, so that what they decided is stored. */
  readonly close: (options?: { readonly graceMs?: number }) => Promise<void>
}

/** The control plane with both its lanes: validates in threads of their own, everything else on this one. */
export async function serveControlPlane(options: ServeOptions): Promise<ServedControlPlane> {
  const { host, operatorPort, onFatal } = options
  const suspect = new Int32Array(new SharedArrayBuffer(4))
  const tells: LaneTells = new Set()
  const tellAll = (message: ToLane) => {
    for (const tell of tells) tell(message)
  }
  const controlPlane = createControlPlane({
    ...options,
    onStops: (stops) => {
      tellAll({ kind: 'stops', stops })
      options.onStops?.(stops)
    },
    onCut: (cut) => {
      tellAll({ kind: 'cut', cut })
      options.onCut?.(cut)
    },
    onSuperseded: (by) => {
      tellAll({ kind: 'superseded', by })
      options.onSuperseded?.(by)
    },
    onLost: () => {
      tellAll({ kind: 'lost' })
      options.onLost?.()
    },
    onFatal: (problem) => {
      Atomics.store(suspect, 0, 1)
      onFatal?.(problem)
    },
  })
  const secret = newLaneSecret()
  const inner = createWebServer(SERVER_LIMITS, undefined, createInnerListener(secret, controlPlane.handle))
  let lanes: Lanes | undefined
  const close = async (closing: { readonly graceMs?: number } = {}) => {
    await controlPlane.drillRuns.close()
    controlPlane.feed.close()
    await lanes?.close(closing)
    await closeServer(inner, closing)
    await controlPlane.close(closing)
  }
  try {
    const { port } = await listen(inner, { host: '127.0.0.1', port: 0 })
    lanes = await namingPort(
      'CONTROL_PLANE_PORT',
      openLanes(options, { controlPlane, tells }, { port, secret }, suspect),
    )
    const operator = listen(controlPlane.operatorServer, { host, port: operatorPort })
    const { url: operatorUrl } = await namingPort('OPERATOR_PORT', operator)
    return { url: lanes.url, operatorUrl, controlPlane, close }
  } catch (error) {
    await close({ graceMs: 0 })
    throw error
  }
}

function openLanes(
  options: ServeOptions,
  between: { readonly controlPlane: ControlPlane; readonly tells: LaneTells },
  inner: { readonly port: number; readonly secret: string },
  suspect: Int32Array<SharedArrayBuffer>,
): Promise<Lanes> {
  const { source, host, port, loopback, hosts, tls, recordAllows, log } = options
  const { name } = log.bindings()
  return startLanes({
    workers: options.workers ?? 1,
    ...between,
    onDied: options.onDied,
    settings: {
      source,
      address: { host, port },
      loopback,
      hosts,
      tls,
      recordAllows,
      limits: options.limits ?? VALIDATE_LIMITS,
      maxConnections: undefined,
      stopHeartbeatMs: options.stopHeartbeatMs,
      inner,
      log: { level: log.level, name: typeof name === 'string' ? name : undefined },
      suspect,
      nodesCounted: between.controlPlane.nodes.counted,
      clockOffset: options.store.shared?.clockOffset,
    },
  })
}
