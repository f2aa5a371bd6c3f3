import { setTimeout as sleep } from 'node:timers/promises'
import { Router } from 'express'

import type { Decision } from '../guard/decision.ts'
import { deviceIdProblem } from '../guard/device.ts'
import { defineEffect, EffectNotPerformed } from '../guard/effect.ts'
import type { Guard } from '../guard/guard.ts'
import { surfaceWith, type Surface } from '../guard/surface.ts'
import { sendJson } from '../http.ts'
import { CanaryRequest, TOOL_SERVER_PATHS, type CanaryBody } from '../tool-server-wire.ts'
import { callerOf, requireScope } from './auth.ts'
import { BadRequestError } from './bad-request.ts'
import { disconnected } from './disconnected.ts'
import { refuse } from './refuse.ts'
import { bodyOf } from './run-request.ts'

/** Canary calls at once. */
const MAX_CANARIES = 256
/** As it stands in logs, questions and acknowledgements. */
export const CANARY_TOOL = 'holdpoint_canary'
/** Longer than it may wait, so that a canary ends by itself or by a stop. */
const DEADLINE_MS = 60_000

/** What its body did. */
interface Wait {
  startedAtMs: number | undefined
  endedBy: CanaryBody['endedBy']
}

/**
 * `POST /canary/:surface`: a guarded call that does nothing but wait, so that a stop can be proven without touching
 * anything (DESIGN 10). It takes the way of every tool call: the hold points, the journal, a real effect.
 */
export function canaryRoute(guard: Guard): Router {
  const router = Router({ caseSensitive: true, strict: true })
  const scope = requireScope('tools:call', 'runs:approve')
  const call = canaryCall(guard)
  let running = 0
  router.post(TOOL_SERVER_PATHS.canary, scope, async (request, response) => {
    const signal = disconnected(response)
    const name = String(request.params['surface'])
    const surface = guard.surfaces.find((one) => one.name === name)
    if (surface === undefined) {
      return refuse(response, {
        statusCode: 404,
        code: 'SURFACE_NOT_FOUND',
        message: `There is no surface of that name here. Surfaces: ${guard.surfaces.map((one) => one.name).join(', ')}.`,
      })
    }
    const asked = await bodyOf(request, CanaryRequest)
    const at = asked.canaryDeviceId === undefined ? surface : surfaceWith(surface, canaryDevice(asked))
    if (running >= MAX_CANARIES) {
      return refuse(response, {
        statusCode: 503,
        code: 'CANARY_OVERLOADED',
        message: `${MAX_CANARIES} canary calls are waiting here, which is the limit. Call it less often, or let it wait less.`,
      })
    }
    running += 1
    try {
      const answer = await call(at, asked, { caller: callerOf(request).id, signal })
      sendJson(response, 200, answer)
    } finally {
      running -= 1
    }
  })
  return router
}

interface Who {
  readonly caller: string
  readonly signal: AbortSignal
}

function canaryCall(guard: Guard) {
  /** By call, the last decision: that of the hold point where it waits. */
  const decisions = new Map<string, Decision | undefined>()
  guard.observe(({ tool, callId = '' }, verdict) => {
    if (tool !== CANARY_TOOL || !decisions.has(callId)) return
    void verdict.then((decision) => decisions.has(callId) && decisions.set(callId, decision))
  })
  return async (surface: Surface, asked: CanaryRequest, who: Who): Promise<CanaryBody> => {
    const { boundary = 'side_effect', holdMs } = asked
    const callId = `canary_${crypto.randomUUID()}`
    const wait: Wait = { startedAtMs: undefined, endedBy: null }
    const body = (signal: AbortSignal) => waiting(guard, wait, { holdMs, signal })
    const effect = defineEffect({
      kind: 'external_call',
      name: CANARY_TOOL,
      key: 'each-call',
      onStop: 'abort',
      deadlineMs: DEADLINE_MS,
      run: (_input: object, { signal }) => body(signal),
    })
    decisions.set(callId, undefined)
    try {
      const outcome = await guard.call({ surface, tool: CANARY_TOOL, callId, ...who }, async (active) =>
        boundary === 'tool' ? body(active.signal) : void (await active.commit(effect, {})),
      )
      const decision = decisions.get(callId)
      const { startedAtMs, endedBy } = wait
      const replica = guard.stopStream?.replica ?? guard.serverDeviceId
      if (startedAtMs !== undefined && decision !== undefined) {
        const { code, deviceId, requestId } = decision
        const startedAgoMs = guard.clock.now().monotonicMs - startedAtMs
        return { replica, started: true, startedAgoMs, endedBy, code, boundary, deviceId, requestId }
      }
      const {
        code,
        boundary: deniedAt,
        deviceId,
        requestId,
      } = outcome.ok ? outcome.decision : outcome.refusal
      const denied = { code, boundary: deniedAt, deviceId, requestId }
      return { replica, started: false, startedAgoMs: null, endedBy: null, ...denied }
    } finally {
      decisions.delete(callId)
    }
  }
}

/** A wait that a stop has ended was not carried out, and is acknowledged as aborted. */
async function waiting(
  guard: Guard,
  wait: Wait,
  { holdMs, signal }: { readonly holdMs: number; readonly signal: AbortSignal },
): Promise<void> {
  wait.startedAtMs = guard.clock.now().monotonicMs
  const waited = await sleep(holdMs, true, { signal }).catch(() => false)
  wait.endedBy = waited ? 'time' : 'stop'
  if (!waited) throw new EffectNotPerformed('A stop has ended the canary.')
}

/** Only a device of its own kind can be asked about: the canary tells nobody how another one stands. */
function canaryDevice({ canaryDeviceId = '' }: CanaryRequest): string {
  const problem = deviceIdProblem(canaryDeviceId)
  const isCanary = canaryDeviceId.split(':')[2] === 'canary'
  if (problem === undefined && isCanary) return canaryDeviceId
  throw new BadRequestError('The body is not what is expected here. docs/http.md shows it.', [
    `canaryDeviceId: ${problem ?? 'the third segment must be canary, for example openai-agent:prod:canary:01'}`,
  ])
}
