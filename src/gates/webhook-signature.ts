import { createHmac } from 'node:crypto'
import { GuardMisconfiguredError } from '../errors.ts'

const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/
const SECRET_BYTES = { min: 24, max: 64 }

/** The key in a secret of Standard Webhooks, `whsec_` and 24 to 64 bytes in base64. Throws `GUARD_MISCONFIGURED`. */
export function webhookKey(secret: unknown, whose: string): Buffer {
  const text = typeof secret === 'string' ? SECRET.exec(secret)?.[1] : undefined
  const key = Buffer.from(text ?? '', 'base64')
  if (key.length >= SECRET_BYTES.min && key.length <= SECRET_BYTES.max) return key
  throw new GuardMisconfiguredError(
    `${whose} must be whsec_ and 24 to 64 bytes in base64. Make one with: echo "whsec_$(openssl rand -base64 32)"`,
  )
}

export interface SignedMessage {
  /** The same each time the message is sent. */
  readonly id: string
  readonly body: string
  /** When it is sent this time, in milliseconds. */
  readonly wallMs: number
}

/** The headers of Standard Webhooks. */
export function signedHeaders(key: Buffer, { id, body, wallMs }: SignedMessage): Record<string, string> {
  const timestamp = String(Math.floor(wallMs / 1000))
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}
