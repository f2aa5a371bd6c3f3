import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { INVOICES } from '../../tools/invoices.ts'
import type { Child } from './supervisor.ts'
import { operatorFile, toolServerFile, writeSecret, type OperatorSecrets } from './secrets.ts'

const callerCurl = (dataDir: string) => join(dataDir, 'caller.curl')
const operatorCurl = (dataDir: string, key: 'stop' | 'operator') => join(dataDir, `${key}.curl`)

/** Files for `curl -K`, so that no key has to appear in a command or on a screen. */
export function writeCurlFiles(dataDir: string, certificateFile: string | undefined): void {
  const { callerToken } = JSON.parse(readFileSync(toolServerFile(dataDir), 'utf8')) as { callerToken: string }
  writeSecret(callerCurl(dataDir), curlConfig(`authorization: Bearer ${callerToken}`, certificateFile))
  if (!existsSync(operatorFile(dataDir))) return
  const keys = JSON.parse(readFileSync(operatorFile(dataDir), 'utf8')) as OperatorSecrets
  for (const key of ['stop', 'operator'] as const) {
    writeSecret(operatorCurl(dataDir, key), curlConfig(`x-org-key: ${keys[key]}`, certificateFile))
  }
}

function curlConfig(header: string, certificateFile: string | undefined): string {
  const trust = certificateFile === undefined ? '' : `cacert = "${certificateFile}"\n`
  return `${trust}silent\nshow-error\nheader = "${header}"\nheader = "content-type: application/json"\nwrite-out = "\\n"\n`
}

export interface BannerOptions {
  readonly children: readonly Child[]
  readonly dataDir: string
  readonly paymentsDevice: string | undefined
}

/** What runs where, and what to try next. Every command works as printed, in the folder where it was printed. */
export function banner({ children, dataDir, paymentsDevice }: BannerOptions): string {
  const url = Object.fromEntries(children.map((child) => [child.program, child.url]))
  const lines = children.map(
    (child) =>
      `${child.program.padEnd(13)} ${child.url}  (log: ${join(dataDir, 'logs', `${child.program}.log`)})`,
  )
  lines.push(
    '',
    'Pay an invoice, then stop payments and try the next one:',
    `  curl -K ${callerCurl(dataDir)} ${url['tool-server']}/tools/send_payment -d '${JSON.stringify(firstPayment())}'`,
  )
  if (url['control-plane'] !== undefined && paymentsDevice !== undefined) {
    lines.push(
      `  curl -K ${operatorCurl(dataDir, 'stop')} ${url['control-plane']}/api/v1/devices/revoke -d '{"deviceId":"${paymentsDevice}"}'`,
    )
  }
  lines.push('See it all in one go: npm run demo')
  return lines.join('\n')
}

function firstPayment() {
  const { invoiceId, amountCents } = INVOICES[0] ?? {}
  return { call_id: 'call_1', arguments: { invoiceId, amountCents } }
}
