import type { Request, Response } from 'express'

import type { OnStep, Runs, RunStep, RunView } from '../agents/hosted/run-types.ts'
import { messageOf } from '../errors.ts'
import { localRequestId } from '../guard/decision.ts'
import { errorBody, sendJson } from '../http.ts'
import type { Logger } from '../log.ts'
import { startEventStream, type EventStream } from '../sse.ts'
import { callerOf, isStillKnown } from './auth.ts'
import { disconnected } from './disconnected.ts'
import { refuse } from './refuse.ts'
import type { OnDisconnect } from './run-bodies.ts'
import { runErrorAnswer } from './run-errors.ts'
import { isGoingOn, runCallerOf, wantsEvents } from './run-request.ts'
import { createStreamPlaces } from './stream-places.ts'

const HEARTBEAT_MS = 15_000

export interface RunStreamsOptions {
  readonly runs: Runs
  readonly log: Logger
  /** How often an idle stream shows that it lives, in milliseconds. Default 15,000. */
  readonly heartbeatMs?: number | undefined
}

/** What is done for a request, and what of it the caller's leaving ends. */
export interface RunWork {
  readonly onDisconnect: OnDisconnect
  readonly begin: (tell: {
    readonly signal: AbortSignal | undefined
    readonly onStep: OnStep | undefined
  }) => Promise<RunView>
}

export interface RunStreams {
  /**
   * Answers with the run when it has paused or ended, or, to whoever accepts `text/event-stream`, with every step of it
   * as it happens. What is refused before the first step is a plain error.
   */
  readonly answer: (request: Request, response: Response, work: RunWork) => Promise<void>
  /** Streams what happens in a run from now on. */
  readonly follow: (request: Request, response: Response, runId: string) => Promise<void>
  /** Ends the streams of those who only look on. */
  readonly close: () => void
}

export function createRunStreams({ runs, log, heartbeatMs = HEARTBEAT_MS }: RunStreamsOptions): RunStreams {
  const places = createStreamPlaces()
  const closing = new AbortController()

  const stream = async (
    request: Request,
    response: Response,
    begin: (steps: StepEvents, gone: AbortSignal) => Promise<RunView>,
  ) => {
    const release = places.take(callerOf(request).id)
    if (release === undefined) return refuse(response, TOO_MANY_STREAMS)
    response.once('close', release)
    const gone = disconnected(response)
    const steps = createStepEvents(response, { heartbeatMs, isStillKnown: () => isStillKnown(request) })
    try {
      let view = await begin(steps, gone)
      if (isGoingOn(view)) {
        const onlookerGone = AbortSignal.any([gone, closing.signal])
        steps.open()
        view = await runs.follow(runCallerOf(request), view.runId, steps.tell, onlookerGone)
      }
      steps.end(view)
    } catch (error) {
      if (!steps.isOpen()) throw error
      steps.fail(errorOf(error, log))
    }
  }

  return {
    answer: async (request, response, { onDisconnect, begin }) => {
      const signalOf = (gone: AbortSignal) => (onDisconnect === 'cancel' ? gone : undefined)
      if (wantsEvents(request)) {
        return stream(request, response, (steps, gone) =>
          begin({ signal: signalOf(gone), onStep: steps.tell }),
        )
      }
      const view = await begin({ signal: signalOf(disconnected(response)), onStep: undefined })
      sendJson(response, isGoingOn(view) ? 202 : 200, view)
    },
    follow: (request, response, runId) =>
      stream(request, response, async (steps) => {
        const view = await runs.show(runCallerOf(request), runId)
        steps.open()
        return view
      }),
    close: () => closing.abort(),
  }
}

interface StepEvents {
  readonly isOpen: () => boolean
  readonly open: () => void
  readonly tell: OnStep
  readonly end: (view: RunView) => void
  readonly fail: (body: object) => void
}

/** The stream begins with the first step, so that what is refused before it can still have a status of its own. */
function createStepEvents(
  response: Response,
  { heartbeatMs, isStillKnown: mayStillSee }: { heartbeatMs: number; isStillKnown: () => boolean },
): StepEvents {
  let stream: EventStream | undefined
  let lastId = 0
  let toldEnd = false
  const open = () => (stream ??= begin())
  const begin = () => {
    const begun = startEventStream(response)
    const beat = setInterval(() => (mayStillSee() ? begun.send(': \n\n') : begun.cut()), heartbeatMs)
    response.once('close', () => clearInterval(beat))
    return begun
  }
  const send = (event: string, data: object) => {
    if (response.destroyed) return
    if (!mayStillSee()) return open().cut()
    open().send(`event: ${event}\nid: ${++lastId}\ndata: ${JSON.stringify(data)}\n\n`)
  }
  const tell = (step: RunStep) => {
    if (toldEnd) return
    toldEnd = step.type === 'run_ended'
    send(step.type, step)
  }
  return {
    isOpen: () => stream !== undefined,
    open: () => {
      if (!response.destroyed) open()
    },
    tell,
    end: (view) => {
      if (!isGoingOn(view)) tell({ type: 'run_ended', run: view })
      stream?.finish()
    },
    fail: (body) => {
      send('error', body)
      stream?.finish()
    },
  }
}

function errorOf(error: unknown, log: Logger): object {
  const known = runErrorAnswer(error, log)
  if (known !== undefined) return known.body
  const requestId = localRequestId()
  log.error({ request_id: requestId, err: messageOf(error) }, 'a run could not be followed')
  const message = 'This failed inside the server. The error was logged with this request_id.'
  return errorBody({ code: 'INTERNAL_ERROR', message, requestId })
}

const TOO_MANY_STREAMS = {
  statusCode: 429,
  code: 'TOO_MANY_STREAMS',
  message: 'As many event streams are open as may be. Close one, or ask without accept: text/event-stream.',
} as const
