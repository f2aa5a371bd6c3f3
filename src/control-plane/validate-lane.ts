import type { IncomingMessage, ServerResponse } from 'node:http'

import type { HoldpointError } from '../errors.ts'
import { onJson, sendJsonText } from '../http.ts'
import { PATHS } from '../machineid/paths.ts'
import { KEY_HEADER, MAX_BODY_BYTES } from '../machineid/wire.ts'
import type { DecisionLog } from './decision-log.ts'
import { keyIdOf, keyMatches, keyProblem, mayAskFor } from './keys.ts'
import { effectivePlan } from './plan.ts'
import { endedKey, invalidKey, missingKey, notBound, Refusal, wrongKind } from './refusal.ts'
import { pathOf, queryOf } from './request-path.ts'
import { decide, type DecisionCode } from './rules.ts'
import type { DecisionReader, DecisionSnapshot } from './store.ts'
import { parseValidate, parseValidateBatch, type Question } from './validate-request.ts'

export interface ValidateLaneOptions {
  readonly reader: DecisionReader
  readonly record: DecisionLog['record']
  /** A new UUIDv7. */
  readonly newId: () => string
  /** Wall-clock milliseconds: whether a key or a plan has ended by now. */
  readonly nowMs: () => number
  /** Throws `RATE_LIMITED` when a genuine key, or its org, asks too often. */
  readonly quota: (keyId: string, orgId: string) => void
  /** True while questions about one of these devices get no answer: their connection is cut. Default: none do. */
  readonly isCut?: ((orgId: string, deviceIds: readonly string[]) => boolean) | undefined
  /** Throws `OVERLOADED` when an answer would come too late. Asked before anything else is done. */
  readonly shed: () => void
  /** Why the store can no longer be trusted. Asked last: what was read before anybody found out is no answer. */
  readonly problem: () => HoldpointError | undefined
  /** Answers what the lane refuses or what went wrong. */
  readonly onError: (response: ServerResponse, error: unknown, handler: string) => void
}

export interface ValidateLane {
  /** Takes the request when it is a validate; false leaves it to the rest of the API. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
}

/**
 * Answers validates, before Express: it is the one thing that every tool call waits for. Each answer is read from
 * the store there and then (G2); nothing is kept between two of them. It holds no reference to the rest of the
 * control plane, so it can run in a thread of its own.
 */
export function createValidateLane(options: ValidateLaneOptions): ValidateLane {
  return {
    handle: (request, response) => {
      const route = ROUTES.get(pathOf(request))
      if (route === undefined || !route.methods.includes(request.method ?? '')) return false
      const send = (text: string | undefined) => {
        if (text === undefined) request.socket.destroy()
        else sendJsonText(response, 200, text)
      }
      const fail = (error: unknown) => options.onError(response, error, route.handler)
      const answer = (body: unknown) => ask(options, route, request.headers[KEY_HEADER], body, send, fail)
      try {
        options.shed()
      } catch (error) {
        fail(error)
        return true
      }
      if (request.method !== 'GET') onJson(request, MAX_BODY_BYTES, answer, fail)
      else answer(Object.fromEntries(queryOf(request)))
      return true
    },
  }
}

interface Route {
  readonly methods: readonly string[]
  readonly handler: string
  readonly parse: (body: unknown) => Question
  readonly render: (
    question: Question,
    snapshot: DecisionSnapshot,
    codes: readonly DecisionCode[],
    id: string,
  ) => string
}

const ROUTES = new Map<string, Route>([
  [
    PATHS.validate,
    { methods: ['POST', 'GET'], handler: 'devices/validate', parse: parseValidate, render: renderOne },
  ],
  [
    PATHS.validateBatch,
    { methods: ['POST'], handler: 'devices/validate_batch', parse: parseValidateBatch, render: renderBatch },
  ],
])

/** Without a promise where the reader needs none: an await here is paid for by every tool call. */
function ask(
  options: ValidateLaneOptions,
  route: Route,
  key: string | string[] | undefined,
  body: unknown,
  done: (text: string | undefined) => void,
  fail: (error: unknown) => void,
): void {
  try {
    if (typeof key !== 'string' || key === '') throw missingKey()
    const question = parsed(route, body)
    const answer = (snapshot: DecisionSnapshot | undefined) =>
      done(judge(options, route, key, question, snapshot))
    const keyId = keyIdOf(key)
    const snapshot = keyId === undefined ? undefined : options.reader.read(keyId, deviceIdsOf(question))
    if (snapshot instanceof Promise) snapshot.then(answer).catch(fail)
    else answer(snapshot)
  } catch (error) {
    fail(error)
  }
}

/** Undefined: no answer at all. */
function judge(
  options: ValidateLaneOptions,
  route: Route,
  key: string,
  question: Question | Refusal,
  snapshot: DecisionSnapshot | undefined,
): string | undefined {
  // The key is judged before the body, so that a stranger learns nothing about the API from his mistakes; and before
  // the quota, so that he cannot use up somebody's by knowing what a key is found by.
  if (!keyMatches(key, snapshot?.key) || snapshot === undefined) throw invalidKey()
  const { keyId, orgId, kind, bindings } = snapshot.key
  const nowMs = options.nowMs()
  const problem = keyProblem(snapshot.key, nowMs)
  if (problem !== undefined) throw endedKey(problem)
  options.quota(keyId, orgId)
  if (kind !== 'runtime' && kind !== 'full') throw wrongKind(kind, ['runtime', 'full'])
  if (question instanceof Refusal) throw question
  if (!question.deviceIds.every((deviceId) => mayAskFor(bindings, deviceId))) throw notBound()
  if (options.isCut?.(orgId, question.deviceIds) === true) return undefined

  const codes = codesOf(snapshot, nowMs)
  // G4, G5: the body, and with it the rest of all this, may have come long after the headers.
  const suspected = options.problem()
  if (suspected !== undefined) throw suspected
  const requestId = options.newId()
  record(options, question, snapshot, codes, requestId)
  return route.render(question, snapshot, codes, requestId)
}

function codesOf(snapshot: DecisionSnapshot, nowMs: number): DecisionCode[] {
  const { orgDisabled, devices } = snapshot
  const { planState, cap } = effectivePlan(snapshot, nowMs)
  return devices.map((device) =>
    decide({ orgDisabled, planState, cap, device, locked: device?.locked === true }),
  )
}

/** G8 */
function record(
  options: ValidateLaneOptions,
  { deviceIds, context }: Question,
  { key: { orgId, keyId }, devices }: DecisionSnapshot,
  codes: readonly DecisionCode[],
  requestId: string,
): void {
  for (let ordinal = 0; ordinal < codes.length; ordinal++) {
    const code = codes[ordinal] as DecisionCode
    const deviceId = deviceIds[ordinal] as string
    const registered = devices[ordinal] !== undefined
    options.record(
      { requestId, ordinal, orgId, keyId, deviceId, code, asked: 'validate', ...context },
      registered,
    )
  }
}

function deviceIdsOf(question: Question | Refusal): readonly string[] {
  return question instanceof Refusal ? [] : question.deviceIds
}

function parsed(route: Route, body: unknown): Question | Refusal {
  try {
    return route.parse(body)
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
}

// The answers, written out: device IDs, codes and ids hold no character that JSON would escape; a nonce may.

function renderOne(
  { deviceIds, nonce }: Question,
  snapshot: DecisionSnapshot,
  codes: readonly DecisionCode[],
  requestId: string,
): string {
  const code = codes[0]
  const allowed = code === 'ALLOW'
  return (
    `{"allowed":${allowed},"code":"${code}","request_id":"${requestId}","deviceId":"${deviceIds[0]}",` +
    `"orgId":"${snapshot.key.orgId}","orgEpoch":${snapshot.orgEpoch},"epoch":${snapshot.devices[0]?.epoch ?? 0},` +
    `"nonce":${JSON.stringify(nonce)},"status":"ok","reason":"${allowed ? 'allowed' : 'not_allowed'}",` +
    `"handler":"devices/validate"}`
  )
}

function renderBatch(
  { deviceIds, nonce }: Question,
  snapshot: DecisionSnapshot,
  codes: readonly DecisionCode[],
  requestId: string,
): string {
  const decisions = codes.map(
    (code, index) =>
      `{"deviceId":"${deviceIds[index]}","allowed":${code === 'ALLOW'},"code":"${code}","epoch":${snapshot.devices[index]?.epoch ?? 0}}`,
  )
  return (
    `{"orgId":"${snapshot.key.orgId}","orgEpoch":${snapshot.orgEpoch},"nonce":${JSON.stringify(nonce)},` +
    `"request_id":"${requestId}","decisions":[${decisions.join(',')}]}`
  )
}
