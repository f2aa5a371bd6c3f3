import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { INVOICES, type Invoice } from '../../tools/invoices.ts'
import { createLedger } from '../../tools/ledger.ts'
import { isSource } from '../package-root.ts'
import { shellQuoted } from '../shell-quoted.ts'
import { fromHere, type ProgramEndedError } from './lifecycle.ts'
import type { Child } from './supervisor.ts'
import {
  operatorFile,
  readApproverToken,
  toolServerFile,
  writeSecret,
  type OperatorSecrets,
} from './secrets.ts'

const OPERATOR_KEYS = ['stop', 'operator', 'admin'] as const
const callerCurl = (dataDir: string) => join(dataDir, 'caller.curl')
const approverCurl = (dataDir: string) => join(dataDir, 'approver.curl')
const operatorCurl = (dataDir: string, key: (typeof OPERATOR_KEYS)[number]) => join(dataDir, `${key}.curl`)

/** Files for `curl -K`, so that no key has to appear in a command or on a screen. */
export function writeCurlFiles(dataDir: string, certificateFile: string | undefined): void {
  const { callerToken } = JSON.parse(readFileSync(toolServerFile(dataDir), 'utf8')) as { callerToken: string }
  writeSecret(callerCurl(dataDir), curlConfig(`authorization: Bearer ${callerToken}`, certificateFile))
  const approverToken = readApproverToken(dataDir)
  if (approverToken !== undefined)
    writeSecret(approverCurl(dataDir), curlConfig(`authorization: Bearer ${approverToken}`, certificateFile))
  if (!existsSync(operatorFile(dataDir))) {
    // They hold what its owner has moved away.
    for (const key of OPERATOR_KEYS) rmSync(operatorCurl(dataDir, key), { force: true })
    if (approverToken === undefined) rmSync(approverCurl(dataDir), { force: true })
    return
  }
  const keys = JSON.parse(readFileSync(operatorFile(dataDir), 'utf8')) as OperatorSecrets
  for (const key of OPERATOR_KEYS) {
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
  readonly certificateFile: string | undefined
  readonly paymentsDevice: string | undefined
  /** There is no key for a real model. */
  readonly scriptedModel: boolean
}

/** What runs where, and what to try next. The commands work as printed, in the folder where they were printed. */
export function banner(options: BannerOptions): string {
  const { children, dataDir, paymentsDevice, scriptedModel } = options
  const curl = commands(children, dataDir)
  const holdpoint = commandLine(options)
  const lines = children.map((child) => whatRuns(child, dataDir))
  if (scriptedModel) lines.push(`${lines.pop()}  (agent on a scripted model: OPENAI_API_KEY is not set)`)
  const run = [curl.start, curl.approve, curl.resume]
  if (!curl.hasInvoices) {
    lines.push(`Every invoice is paid: to try it again, start with another DATA_DIR.${ALL_IN_ONE}`)
  } else if (readApproverToken(dataDir) === undefined) {
    lines.push(
      `${HERE}: pay. (Approving, stopping and restoring take the operator's secrets, which are not in ${dataDir}.${ALL_IN_ONE})`,
      curl.pay,
    )
  } else if (paymentsDevice === undefined || !curl.hasControlPlane) {
    lines.push(
      `${HERE}: pay; let the agent pay, approve, resume. (CALL and DIGEST stand in its answer.${ALL_IN_ONE})`,
      curl.pay,
      ...run,
    )
  } else {
    lines.push(
      `${HERE}: let the agent pay, approve, resume; stop payments, try to pay, restore. (CALL and DIGEST stand in the first answer.${ALL_IN_ONE})`,
      ...run,
      holdpoint(`devices revoke ${paymentsDevice}`),
      curl.pay,
      holdpoint(`devices restore ${paymentsDevice}`),
    )
  }
  return lines.join('\n')
}

const HERE = 'In another terminal, in this folder'
/** The published package has no demo. */
const ALL_IN_ONE = isSource() ? ' All in one go: npm run demo' : ''

export interface StoppedBannerOptions {
  readonly children: readonly Child[]
  readonly dataDir: string
  readonly certificateFile: string | undefined
  readonly denied: ProgramEndedError
}

/** The control plane runs, the tool server was denied: how to undo the stop. */
export function stoppedBanner({ children, denied, ...here }: StoppedBannerOptions): string {
  const holdpoint = commandLine(here)
  const { code = '', deviceId = '' } = denied.denied ?? {}
  return [
    ...children.map((child) => whatRuns(child, here.dataDir)),
    `The tool server does not run. ${denied.message}`,
    'Who stopped it and why, and how to undo it; then end this and start it again:',
    holdpoint('status'),
    holdpoint(UNDO[code]?.(deviceId) ?? `devices restore ${deviceId}`),
  ].join('\n')
}

const UNDO: Readonly<Record<string, (deviceId: string) => string>> = {
  ORG_DISABLED: () => 'org enable',
  DEVICE_LOCKED: () => 'lock ls',
  DEVICE_REMOVED: (deviceId) => `devices register ${deviceId} --restore-removed`,
}

function whatRuns({ program, url, operatorUrl }: Child, dataDir: string): string {
  const at = operatorUrl && fromHere(operatorUrl)
  const operators = at === undefined ? '' : `  for operators ${at}  console ${at}/console`
  return `${program.padEnd(13)} ${url}${operators}  (log: ${join(dataDir, 'logs', `${program}.log`)})`
}

function commands(children: readonly Child[], dataDir: string) {
  const toolServer = children.find((child) => child.program === 'tool-server')?.url
  const call = (file: string, path: string, body: string) =>
    `  curl -K ${quoted(file)} ${toolServer}${path} -d '${body}'`
  // Of this start: the commands go together, and repeated they show what is there.
  const id = randomUUID().slice(0, 8)
  const [first, second] = unpaidInvoices(dataDir)
  const runId = `run-${id}`
  const run = { agent: 'accounts-assistant', runId, input: `Pay ${first?.invoiceId}` }
  const { invoiceId, amountCents } = second ?? {}
  const payment = { call_id: `call-${id}`, arguments: { invoiceId, amountCents } }
  return {
    hasInvoices: second !== undefined,
    hasControlPlane: children.some((child) => child.program === 'control-plane'),
    pay: call(callerCurl(dataDir), '/tools/send_payment', JSON.stringify(payment)),
    start: call(callerCurl(dataDir), '/runs', JSON.stringify(run)),
    approve: call(
      approverCurl(dataDir),
      `/runs/${runId}/decisions`,
      '{"decisions":[{"callId":"CALL","digest":"DIGEST","approve":true}]}',
    ),
    resume: call(callerCurl(dataDir), `/runs/${runId}/resume`, '{}'),
  }
}

/** The command line finds keys and addresses in DATA_DIR. */
function commandLine(here: Pick<BannerOptions, 'dataDir' | 'certificateFile'>) {
  const dataDir = here.dataDir === './data' ? '' : `DATA_DIR=${quoted(here.dataDir)} `
  const trust = here.certificateFile === undefined ? '' : `TLS_CERT_FILE=${quoted(here.certificateFile)} `
  return (args: string) => `  ${dataDir}${trust}npx holdpoint ${args}`
}

/** Earlier starts may have paid some. With a ledger in Postgres nobody looks there. */
function unpaidInvoices(dataDir: string): readonly Invoice[] {
  const file = join(dataDir, 'ledger.sqlite')
  if (!existsSync(file)) return INVOICES
  const ledger = createLedger({ file })
  try {
    return INVOICES.filter(({ invoiceId }) => ledger.invoice(invoiceId)?.status === 'open')
  } finally {
    ledger.close()
  }
}

/** For a shell, where the path needs it. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : shellQuoted(path)
}
