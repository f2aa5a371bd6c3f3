export interface Email {
  /** One address, without a name. */
  readonly to: string
  readonly subject: string
  /** Plain text. */
  readonly text: string
}

export interface Sending {
  /** Names the mail: its Message-ID is `<idempotencyKey@domain>`, the same on every attempt. */
  readonly idempotencyKey: string
  readonly signal?: AbortSignal
}

/** Who sends emails. */
export interface Mailer {
  /**
   * Resolves with the Message-ID, without its angle brackets. Throws `EffectNotPerformed` when nothing was sent for
   * sure, anything else when that is not known.
   */
  send(email: Email, sending: Sending): Promise<string>
  /** The Message-ID of the mail that was sent under this key. Absent where nobody can tell afterwards. */
  sent?(idempotencyKey: string): string | undefined
}

/** `accounts@example.com` and `Accounts <accounts@example.com>` give `example.com`. */
export function domainOf(from: string): string {
  return /@([A-Za-z0-9.-]+)/.exec(from)?.[1] ?? 'localhost'
}
