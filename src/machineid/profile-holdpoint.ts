import { randomUUID } from 'node:crypto'

import type { Answered, Question } from '../guard/authority.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import { decisionHeadProblem } from './answer-head.ts'
import { readBatchAnswer } from './answer.ts'
import type { Deadline } from './deadline.ts'
import type { Outgoing } from './exchange.ts'
import { requestHeaders, type AskingProfile, type Connection } from './profile.ts'
import { PATHS } from './paths.ts'
import { MAX_BODY_BYTES } from './wire.ts'

const MAX_CONTEXT_CHARS = 256

/**
 * The strict profile: one snapshot for all devices, which echoes org, devices and nonce (G2), and which is not
 * older than what this client had seen when it sent the question.
 */
export class HoldpointProfile implements AskingProfile {
  readonly #connection: Connection
  readonly #replica: string

  constructor(connection: Connection, replica: string) {
    this.#connection = connection
    this.#replica = replica.slice(0, MAX_CONTEXT_CHARS)
  }

  async ask(question: Question, deadline: Deadline): Promise<Answered> {
    const { transport, org } = this.#connection
    const deviceIds = [...question.deviceIds]
    const context = {
      boundary: question.boundary,
      tool: clip(question.tool),
      callId: clip(question.callId),
      runId: clip(question.runId),
      replica: this.#replica,
    }
    const prepare = (): BatchCall => new BatchCall(this.#connection, deviceIds, context)
    const { outgoing, incoming } = await transport.send(prepare, deadline, { retry: true })
    const { nonce, floorEpoch } = outgoing
    const answer = readBatchAnswer(incoming.body, { deviceIds, nonce, orgId: org.orgId })
    // Answers in flight overtake each other, so only what was known when this question left can be held against it.
    if (answer.orgEpoch < floorEpoch) {
      throw new AuthorityFailure(
        'AUTHORITY_ROLLBACK',
        `The authority answered at epoch ${answer.orgEpoch}, but was at ${floorEpoch} before. Was a backup restored, or is an old node answering?`,
      )
    }
    org.saw(answer.orgId, answer.orgEpoch)
    return { answered: true, ...answer, sentAt: incoming.sentAt }
  }
}

class BatchCall implements Outgoing {
  readonly method = 'POST'
  readonly path: string
  readonly headers: string[]
  readonly body: string
  readonly maxAnswerBytes = MAX_BODY_BYTES
  readonly headProblem = decisionHeadProblem
  readonly nonce = randomUUID()
  readonly #connection: Connection
  floorEpoch = Number.POSITIVE_INFINITY

  constructor(connection: Connection, deviceIds: readonly string[], context: object) {
    this.#connection = connection
    this.path = connection.pathPrefix + PATHS.validateBatch
    this.headers = requestHeaders(connection.key, { hasBody: true })
    this.body = JSON.stringify({ deviceIds, nonce: this.nonce, context })
  }

  onSent(): void {
    this.floorEpoch = this.#connection.org.highestEpoch
  }
}

function clip(text: string | undefined): string | undefined {
  return text?.slice(0, MAX_CONTEXT_CHARS)
}
