import type { ServerResponse } from 'node:http'
import type { Refusal } from '../guard/refusal.ts'
import { errorBody, sendJson } from '../http.ts'
import type { UnfinishedOutcome } from './unit.ts'

export interface WebhookAnswer {
  readonly statusCode: number
  readonly body: unknown
  /** Whether the sender is told when to deliver it again. Every answer but 200 makes it do so sooner or later. */
  readonly retryAfter?: boolean
}

export interface WebhookProblem {
  readonly statusCode: number
  readonly code: string
  readonly message: string
  readonly requestId: string
}

/** An error before anything was asked. */
export function problemAnswer({ statusCode, ...problem }: WebhookProblem): WebhookAnswer {
  return { statusCode, body: errorBody({ ...problem, executed: false, effects: [] }) }
}

/** What a sender is told: the fields and words of every denial, and never what the handler threw. */
export function refusalAnswer(outcome: UnfinishedOutcome): WebhookAnswer {
  const { refusal, executed, effects } = outcome
  const { error, code, boundary, deviceId, requestId } = refusal
  const { message, ...rest } = kindOf(outcome.state, refusal)
  const told = { status: 'error', error, code, boundary, device_id: deviceId, request_id: requestId }
  return { ...rest, body: { ...told, executed, effects, message } }
}

type Kind = Omit<WebhookAnswer, 'body'> & { readonly message: string }

function kindOf(state: UnfinishedOutcome['state'], { error }: Refusal): Kind {
  if (state === 'interrupted') return KINDS.interrupted
  // Also what denied itself because the program has a mistake: no restore heals it.
  if (state === 'failed' && error !== 'effect_key_conflict') return KINDS.failed
  switch (error) {
    case 'permission_denied':
    case 'approval_required':
      return KINDS.denied
    case 'permission_check_unavailable':
      return KINDS.unavailable
    case 'in_progress':
      return KINDS.running
    case 'outcome_unknown':
      return KINDS.unknown
    case 'effect_key_conflict':
      return KINDS.conflict
    case 'tool_failed':
      return KINDS.failed
  }
}

// An unknown outcome is no success, so it is not told as one. Senders deliver again what was not answered 2xx, which
// does no harm: the journal refuses the key, asks `reconcile`, or replays what a person has settled meanwhile.
const KINDS = {
  denied: {
    statusCode: 403,
    message: 'Permission was refused, so this was not carried out. Deliver it again once it is restored.',
  },
  unavailable: {
    statusCode: 503,
    retryAfter: true,
    message: 'Permission could not be asked for, so this was not carried out. Deliver it again later.',
  },
  interrupted: {
    statusCode: 503,
    retryAfter: true,
    message: 'The work was interrupted before it ended. Deliver it again later.',
  },
  running: {
    statusCode: 409,
    retryAfter: true,
    message: 'Another delivery of this is being carried out. Deliver it again later.',
  },
  unknown: {
    statusCode: 409,
    retryAfter: true,
    message:
      'It is not known whether this happened; a person must look. Delivering it again repeats nothing.',
  },
  conflict: {
    statusCode: 409,
    message: 'This was already asked for with other contents. It was not done again.',
  },
  failed: { statusCode: 500, message: 'The handler failed. The error was logged with this request_id.' },
} as const satisfies Record<string, Kind>

/** Does nothing when the sender has gone. */
export function sendAnswer(
  response: ServerResponse,
  { statusCode, body, retryAfter = false }: WebhookAnswer,
  retryAfterSeconds: number,
): void {
  if (response.headersSent || response.destroyed) return
  if (retryAfter) response.setHeader('retry-after', retryAfterSeconds)
  sendJson(response, statusCode, body)
}
