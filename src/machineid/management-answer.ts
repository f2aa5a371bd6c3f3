import type { DenialCode } from '../guard/decision.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import { headersProblem, statusProblem } from './answer-head.ts'
import type { AnswerHeaders } from './exchange.ts'
import { own, type JsonObject } from './strict-json.ts'
import { DECISION_CODE } from './wire.ts'

/** Why an answer to a management call is refused before its body is read. */
export function managementHeadProblem(status: number, headers: AnswerHeaders): DenialCode | undefined {
  const problem = headersProblem(headers)
  if (isDone(status)) return problem
  // The authority says no with a status and a JSON body that says why; without one the status is all there is.
  return isRefusal(status) && problem === undefined ? undefined : statusProblem(status)
}

/**
 * The code with which the authority itself refused, or undefined when it did what was asked. Throws the code of
 * the status when the body gives no reason of its own.
 */
export function refusalCode(status: number, body: JsonObject | undefined): DenialCode | undefined {
  const code = body && reasonOf(body)
  if (isDone(status)) return body !== undefined && saysNo(body) ? (code ?? 'AUTHORITY_BAD_BODY') : undefined
  // 403 is also what a key gets that may not do this: then it says nothing about the device.
  if (code !== undefined && (status !== 403 || isAboutDevice(code, body))) return code
  const reason = code === undefined ? 'gives no reason' : `says ${code}`
  throw new AuthorityFailure(statusProblem(status), `The answer has status ${status} and ${reason}.`)
}

function isAboutDevice(code: DenialCode, body: JsonObject | undefined): boolean {
  return /^(?:DEVICE|PLAN)_/.test(code) || (body !== undefined && own(body, 'status') === 'blocked')
}

function isDone(status: number): boolean {
  return status === 200 || status === 201
}

function isRefusal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 401 && status !== 429
}

/** `limit_reached` came with 2xx from early MachineID. */
function saysNo(body: JsonObject): boolean {
  const status = own(body, 'status')
  return (
    typeof own(body, 'error') === 'string' ||
    status === 'blocked' ||
    status === 'error' ||
    status === 'limit_reached'
  )
}

/** MachineID gives only `error`, the word that our `code` is the capitals of. */
function reasonOf(body: JsonObject): DenialCode | undefined {
  if (own(body, 'status') === 'limit_reached') return 'DEVICE_LIMIT_REACHED'
  const reason = own(body, 'code') ?? own(body, 'error')
  const code = typeof reason === 'string' ? reason.toUpperCase() : ''
  return DECISION_CODE.test(code) ? code : undefined
}
