import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { INVOICES } from '../../tools/invoices.ts'
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
  if (!existsSync(operatorFile(dataDir))) return
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
  readonly paymentsDevice: string | undefined
  /** There is no key for a real model. */
  readonly scriptedModel: boolean
}

/** What runs where, and what to try next. The commands work as printed, in the folder where they were printed. */
export function banner({ children, dataDir, paymentsDevice, scriptedModel }: BannerOptions): string {
  const curl = commands(children, dataDir)
  const lines = children.map((child) => whatRuns(child, dataDir))
  if (scriptedModel) lines.push(`${lines.pop()}  (agent on a scripted model: OPENAI_API_KEY is not set)`)
  const run = [curl.start, curl.approve, curl.resume]
  if (paymentsDevice === undefined || !curl.hasControlPlane) {
    lines.push(
      `${HERE}: pay; let the agent pay, approve, resume. (CALL and DIGEST stand in its answer. ${ALL_IN_ONE})`,
      curl.pay(0),
      ...run,
    )
  } else {
    lines.push(
      `${HERE}: let the agent pay, approve, resume; stop payments, try to pay, restore. (CALL, DIGEST and EPOCH stand in the answers. ${ALL_IN_ONE})`,
      ...run,
      curl.operate('stop', 'devices/revoke', `{"deviceId":"${paymentsDevice}"}`),
      curl.pay(1),
      curl.operate('operator', 'devices/unrevoke', `{"deviceId":"${paymentsDevice}","ifEpoch":EPOCH}`),
    )
  }
  return lines.join('\n')
}

const HERE = 'In another terminal, in this folder'
const ALL_IN_ONE = 'All in one go: npm run demo'

export interface StoppedBannerOptions {
  readonly children: readonly Child[]
  readonly dataDir: string
  readonly denied: ProgramEndedError
}

/** The control plane runs, the tool server was denied: how to undo the stop. */
export function stoppedBanner({ children, dataDir, denied }: StoppedBannerOptions): string {
  const curl = commands(children, dataDir)
  const undo =
    denied.denied?.code === 'ORG_DISABLED'
      ? [curl.operate('admin', 'usage'), curl.operate('admin', 'org/enable', '{"ifEpoch":EPOCH}')]
      : [
          curl.operate('operator', 'devices/list'),
          curl.operate(
            'operator',
            'devices/unrevoke',
            `{"deviceId":"${denied.denied?.deviceId}","ifEpoch":EPOCH}`,
          ),
        ]
  return [
    ...children.map((child) => whatRuns(child, dataDir)),
    `The tool server does not run. ${denied.message}`,
    'To undo the stop: look up its epoch (org.epoch, or the epoch of the device), restore, then end this and run npm start again.',
    ...undo,
  ].join('\n')
}

function whatRuns({ program, url, operatorUrl }: Child, dataDir: string): string {
  const operators = operatorUrl === undefined ? '' : `  for operators ${fromHere(operatorUrl)}`
  return `${program.padEnd(13)} ${url}${operators}  (log: ${join(dataDir, 'logs', `${program}.log`)})`
}

function commands(children: readonly Child[], dataDir: string) {
  const toolServer = children.find((child) => child.program === 'tool-server')?.url
  const operatorUrl = children.find((child) => child.program === 'control-plane')?.operatorUrl
  const call = (file: string, path: string, body: string) =>
    `  curl -K ${quoted(file)} ${toolServer}${path} -d '${body}'`
  return {
    hasControlPlane: operatorUrl !== undefined,
    pay: (index: number) => call(callerCurl(dataDir), '/tools/send_payment', JSON.stringify(payment(index))),
    start: call(callerCurl(dataDir), '/runs', JSON.stringify(FIRST_RUN)),
    approve: call(
      approverCurl(dataDir),
      `/runs/${FIRST_RUN.runId}/decisions`,
      '{"decisions":[{"callId":"CALL","digest":"DIGEST","approve":true}]}',
    ),
    resume: call(callerCurl(dataDir), `/runs/${FIRST_RUN.runId}/resume`, '{}'),
    operate: (key: (typeof OPERATOR_KEYS)[number], call: string, body?: string) =>
      `  curl -K ${quoted(operatorCurl(dataDir, key))} ${fromHere(operatorUrl ?? '')}/api/v1/${call}${body === undefined ? '' : ` -d '${body}'`}`,
  }
}

/** Its id is fixed, so that the commands go together; repeated, the first one shows the run that is there. */
const FIRST_RUN = { agent: 'accounts-assistant', runId: 'first-run', input: 'Pay INV-1001' }

function payment(index: number) {
  const { invoiceId, amountCents } = INVOICES[index] ?? {}
  return { call_id: `call_${index + 1}`, arguments: { invoiceId, amountCents } }
}

/** For a shell, where the path needs it. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
