import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { messageOf } from './errors.ts'
import type { TlsOptions } from './http.ts'

// Of config.ts: settings that may lie in files.

type Env = Readonly<Record<string, string | undefined>>

/** Where alerts go, and what they are signed with. Their form is checked by `createAlerts`. */
export interface AlertSettings {
  readonly url: string
  readonly secret: string
}

/** What config.ts reads of it. */
export const alertsShape = {
  ALERT_WEBHOOK_URL: z.url({ protocol: /^https?$/, error: 'an https URL' }).optional(),
  ALERT_WEBHOOK_SECRET: z.string().optional(),
  ALERT_WEBHOOK_SECRET_FILE: z.string().optional(),
}

/** Undefined when nothing is set, and where `problems` says why it cannot work. */
export function readAlerts(env: Env, problems: string[]): AlertSettings | undefined {
  const { ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_SECRET: given, ALERT_WEBHOOK_SECRET_FILE: file } = env
  if (!url && !given && !file) return undefined
  if (!url || !given === !file) {
    problems.push(
      'ALERT_WEBHOOK_URL: set it together with one of ALERT_WEBHOOK_SECRET and ALERT_WEBHOOK_SECRET_FILE',
    )
    return undefined
  }
  try {
    return { url, secret: given || readFileSync(file as string, 'utf8').trim() }
  } catch (cause) {
    problems.push(`ALERT_WEBHOOK_SECRET_FILE: ${messageOf(cause)}`)
    return undefined
  }
}

/** Undefined when nothing is set, and where `problems` says why it cannot work. */
export function readTls(env: Env, problems: string[]): TlsOptions | undefined {
  const { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile } = env
  if (!certFile && !keyFile) return undefined
  if (!certFile || !keyFile) {
    problems.push('TLS_CERT_FILE and TLS_KEY_FILE: set both or neither')
    return undefined
  }
  try {
    return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
  } catch (cause) {
    problems.push(`TLS_CERT_FILE, TLS_KEY_FILE: ${messageOf(cause)}`)
    return undefined
  }
}
