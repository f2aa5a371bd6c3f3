import type { Instant } from '../clock.ts'
import type { Answered, DeviceDecision, Question } from '../guard/authority.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import { decisionHeadProblem } from './answer-head.ts'
import { readSingleAnswer } from './answer.ts'
import type { Deadline } from './deadline.ts'
import type { Outgoing } from './exchange.ts'
import { requestHeaders, type AskingProfile, type Connection } from './profile.ts'
import { PATHS } from './paths.ts'
import { MAX_BODY_BYTES } from './wire.ts'

const REMEMBERED_REQUEST_IDS = 10_000

/**
 * Hosted MachineID as it is documented: one request per device, each on a connection of its own. Its answers
 * carry no nonce, so a fresh one is told from an old one only by a request ID not seen before. Has G3 and G4.
 */
export class MachineidProfile implements AskingProfile {
  readonly #connection: Connection
  readonly #seenRequestIds = new Set<string>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async ask(question: Question, deadline: Deadline): Promise<Answered> {
    const answers = await Promise.all(
      question.deviceIds.map((deviceId) => this.#validate(deviceId, deadline)),
    )
    // For the record: the ID of the decision that counted.
    const deciding = answers.find(({ decision }) => !decision.allowed) ?? answers[0]
    if (deciding === undefined)
      throw new AuthorityFailure('GUARD_MISCONFIGURED', 'No device was asked about.')
    return {
      answered: true,
      decisions: answers.map(({ decision }) => decision),
      requestId: deciding.requestId,
      orgId: undefined,
      orgEpoch: undefined,
      sentAt: answers.map(({ sentAt }) => sentAt).reduce(earlier),
    }
  }

  async #validate(deviceId: string, deadline: Deadline): Promise<OneAnswer> {
    const { transport, pathPrefix, key } = this.#connection
    const body = JSON.stringify({ deviceId })
    const prepare = (): Outgoing => ({
      method: 'POST',
      path: pathPrefix + PATHS.validate,
      headers: requestHeaders(key, { hasBody: true }),
      body,
      maxAnswerBytes: MAX_BODY_BYTES,
      headProblem: decisionHeadProblem,
    })
    const { incoming } = await transport.send(prepare, deadline, { retry: true })
    const { decision, requestId } = readSingleAnswer(incoming.body, deviceId)
    this.#remember(requestId)
    return { decision, requestId, sentAt: incoming.sentAt }
  }

  #remember(requestId: string): void {
    const seen = this.#seenRequestIds
    if (seen.has(requestId)) {
      throw new AuthorityFailure('AUTHORITY_STALE_ANSWER', 'This request ID was on an answer before.')
    }
    seen.add(requestId)
    const [oldest] = seen
    if (oldest !== undefined && seen.size > REMEMBERED_REQUEST_IDS) seen.delete(oldest)
  }
}

interface OneAnswer {
  readonly decision: DeviceDecision
  readonly requestId: string
  readonly sentAt: Instant
}

function earlier(one: Instant, other: Instant): Instant {
  return other.monotonicMs < one.monotonicMs ? other : one
}
