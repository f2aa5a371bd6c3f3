/** What the control plane refused, or that it could not be reached (`UNREACHABLE`). */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: string
  /** HTTP's; 0 when there was no answer. */
  readonly status: number
  readonly requestId: string | undefined
  /** With 409 and 428: the epoch to look at before trying again. */
  readonly epoch: number | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(about: {
    readonly code: string
    readonly message: string
    readonly status: number
    readonly requestId?: string | undefined
    readonly epoch?: number | undefined
    readonly retryAfterSeconds?: number | undefined
    readonly cause?: unknown
  }) {
    super(about.message, { cause: about.cause })
    this.code = about.code
    this.status = about.status
    this.requestId = about.requestId
    this.epoch = about.epoch
    this.retryAfterSeconds = about.retryAfterSeconds
  }
}

/** Nobody answered, or something broke on the way: whether a change was made is not known. */
export function isOutcomeUnknown({ status, code }: Pick<ApiError, 'status' | 'code'>): boolean {
  return status === 0 || (status >= 500 && code !== 'OVERLOADED')
}

export function unreachable(cause: unknown): ApiError {
  return new ApiError({
    code: 'UNREACHABLE',
    message:
      'The control plane does not answer. Whether a change that was just sent was made is not known: look again before you repeat it.',
    status: 0,
    cause,
  })
}
