import type { DenialCode } from '../guard/decision.ts'
import type { AnswerHeaders } from './exchange.ts'

const JSON_UTF8 = /^application\/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?$/i

const EVENTS_UTF8 = /^text\/event-stream[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?$/i

/** Why a stream of events is refused by its status and headers. */
export function eventHeadProblem(status: number, headers: AnswerHeaders): DenialCode | undefined {
  return status === 200 ? headersProblem(headers, EVENTS_UTF8) : statusProblem(status)
}

/** Why the answer to a question is refused by its status and headers, before its body is looked at (G4). */
export function decisionHeadProblem(status: number, headers: AnswerHeaders): DenialCode | undefined {
  return status === 200 ? headersProblem(headers) : statusProblem(status)
}

export function statusProblem(status: number): DenialCode {
  if (status === 401 || status === 403) return 'AUTHORITY_UNAUTHORIZED'
  if (status === 429) return 'AUTHORITY_RATE_LIMITED'
  return status >= 300 && status < 400 ? 'AUTHORITY_REDIRECT' : 'AUTHORITY_BAD_STATUS'
}

/** For the log: what the status alone tells of an answer that was refused by its head. Nothing of its body is read. */
export function headRefusal(status: number): string {
  const what = MEANING[status] ?? 'Its status or its headers are not those of a decision'
  return `${what} (status ${status}).`
}

const MEANING: Readonly<Record<number, string>> = {
  401: 'The authority does not know this key, or it has ended',
  403: 'The authority does not let this key ask that: another kind, or not bound to this device',
  421: 'This port of the control plane is for operators: agents ask the one of CONTROL_PLANE_PORT',
}

export function headersProblem(headers: AnswerHeaders, expected = JSON_UTF8): DenialCode | undefined {
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') return 'AUTHORITY_BAD_ENCODING'
  // Own, so that nothing which was put on Object.prototype can stand in for a header that did not come.
  const type = Object.hasOwn(headers, 'content-type') ? headers['content-type'] : undefined
  if (typeof type !== 'string' || !expected.test(type)) return 'AUTHORITY_BAD_CONTENT_TYPE'
  // Both are only ever set by a cache that answers in the authority's place.
  if (headers['age'] !== undefined || headers['warning'] !== undefined) return 'AUTHORITY_CACHED'
  return undefined
}
