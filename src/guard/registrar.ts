import { messageOf } from '../errors.ts'
import { jittered } from '../jitter.ts'
import type { Logger } from '../log.ts'
import type { Authority, Registration, Unanswered } from './authority.ts'
import type { DenialCode } from './decision.ts'
import { failClosed } from './fail-closed.ts'

export interface RegistrarOptions {
  readonly authority: Authority
  readonly deviceIds: readonly string[]
  readonly timeoutMs: number
  readonly log: Logger
}

const RETRY_MIN_MS = 1000
const RETRY_MAX_MS = 30_000

/**
 * Registers the declared devices once, at startup: never at a boundary, or a removed device would register
 * itself back.
 */
export class Registrar {
  readonly #options: RegistrarOptions
  readonly #refused = new Map<string, DenialCode>()
  readonly #unanswered = new Set<string>()
  #retryTimer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: RegistrarOptions) {
    this.#options = options
  }

  /** In the declared order. Gives back why `serverDeviceId` could not be asked for, if so; the others are tried later. */
  async registerAll(serverDeviceId: string): Promise<Unanswered | undefined> {
    for (const deviceId of this.#options.deviceIds) {
      if (this.#stopped) return undefined
      const registration = await this.#register(deviceId)
      if (!registration.answered && deviceId === serverDeviceId) return registration
    }
    return undefined
  }

  /** What to tell about a device that the authority does not know: why its registration was refused. */
  explain(deviceId: string, code: DenialCode): DenialCode {
    return code === 'DEVICE_NOT_REGISTERED' ? (this.#refused.get(deviceId) ?? code) : code
  }

  /** Goes on in the background with those that got no answer, until each is answered. */
  retryUnanswered(delayMs: number = RETRY_MIN_MS): void {
    if (this.#stopped || this.#unanswered.size === 0) return
    clearTimeout(this.#retryTimer)
    this.#retryTimer = setTimeout(() => {
      void Promise.all([...this.#unanswered].map((deviceId) => this.#register(deviceId))).then(() =>
        this.retryUnanswered(Math.min(delayMs * 2, RETRY_MAX_MS)),
      )
    }, jittered(delayMs)).unref()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retryTimer)
  }

  async #register(deviceId: string): Promise<Registration> {
    const { authority, timeoutMs, log } = this.#options
    const registration = await failClosed<Registration>(() =>
      authority.registerDevice(deviceId, { timeoutMs }),
    )
    if (!registration.answered) this.#unanswered.add(deviceId)
    else this.#unanswered.delete(deviceId)
    const line = { device_id: deviceId, request_id: registration.requestId }
    if (registration.answered && registration.registered) {
      this.#refused.delete(deviceId)
      log.debug(line, 'registered')
    } else {
      if (registration.answered) this.#refused.set(deviceId, registration.code)
      const { code } = registration
      if (registration.answered) log.warn({ ...line, code }, 'registration refused')
      else log.warn({ ...line, code, err: messageOf(registration.cause) }, unansweredText(code))
    }
    return registration
  }
}

/** Who is told "no answer" looks at the network, not at the key. */
function unansweredText(code: DenialCode): string {
  return code === 'AUTHORITY_UNAUTHORIZED'
    ? 'registration refused: the authority does not take this key'
    : 'registration got no usable answer'
}
