import { AsyncLocalStorage } from 'node:async_hooks'
import type { Model, ModelProvider, StreamEvent } from '@openai/agents'
import { replaceMethods, type Method } from './in-place.ts'
import { currentSession, type Permitted, type Session } from './session.ts'

/** One run of the SDK within a session: an agent that is a tool of another has its own. */
export interface ModelRun {
  readonly session: Session
  /** What it has asked for, and started no request on. */
  permit: Permitted | undefined
}

const runs = new AsyncLocalStorage<ModelRun>()

export function inModelRun<T>(run: ModelRun, body: () => T): T {
  return runs.run(run, body)
}

function takePermit(session: Session): Permitted | undefined {
  const run = runs.getStore()
  if (run?.session !== session) return undefined
  const { permit } = run
  run.permit = undefined
  return permit
}

/**
 * Every request of this model within a session starts on the permit that its run has asked for. One that nobody asked
 * for is asked for here: a retry of the SDK, or what it tells the server after an abort. In place and once; outside of
 * sessions it is as it was. A name is no model: its provider gives that. Throws `GUARD_MISCONFIGURED` when the model is
 * frozen.
 */
export function gateModel(model: Model | string | undefined): void {
  if (!isObject(model)) return
  replaceMethods(model, ['getResponse', 'getStreamedResponse'], {
    make: (send, name) => (name === 'getResponse' ? asking(send) : askingStream(send)),
    refusal: (name) => `The ${name}() of a model of this run cannot be gated: ${STEP}`,
  })
}

/** Gates each model that this provider gives within a session. */
export function gateProvider(provider: ModelProvider): void {
  replaceMethods(provider, ['getModel'], {
    make: (getModel) =>
      function (...args) {
        const model = Reflect.apply(getModel, this, args) as ReturnType<ModelProvider['getModel']>
        if (currentSession() === undefined) return model
        return isObject(model) && 'then' in model ? model.then(gated) : gated(model)
      },
    refusal: (name) => `The ${name}() of the model provider of this run cannot be gated: ${STEP}`,
  })
}

const STEP =
  'the object is frozen, or a proxy. Leave it open, or give the run an object of yours that calls it.'

function gated(model: Model): Model {
  gateModel(model)
  return model
}

function asking(send: Method): Method {
  return function (...args) {
    const session = currentSession()
    const request = () => Reflect.apply(send, this, args)
    if (session === undefined || session === starting) return request()
    return session.startModelCall(takePermit(session), () => inThisTick(session, request))
  }
}

type Events = AsyncIterable<StreamEvent>

function askingStream(send: Method): Method {
  return function (...args) {
    const session = currentSession()
    const request = () => Reflect.apply(send, this, args) as Events
    return session === undefined ? request() : streamed(session, request)
  }
}

async function* streamed(session: Session, request: () => Events): Events {
  yield* session === starting
    ? request()
    : await session.startModelCall(takePermit(session), () => inThisTick(session, () => begun(request())))
}

/** Whose permit starts a request in this very tick: a model made of another one needs no second permit for that. */
let starting: Session | undefined

function inThisTick<T>(session: Session, request: () => T): T {
  starting = session
  try {
    return request()
  } finally {
    starting = undefined
  }
}

/** A generator sends nothing before it is asked for its first event: here it is asked at once. */
function begun(events: Events): Events {
  const iterator = events[Symbol.asyncIterator]()
  let first: ReturnType<typeof iterator.next> | undefined = iterator.next()
  const next = () => {
    const event = first ?? iterator.next()
    first = undefined
    return event
  }
  const end = iterator.return?.bind(iterator)
  return { [Symbol.asyncIterator]: () => (end === undefined ? { next } : { next, return: end }) }
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
