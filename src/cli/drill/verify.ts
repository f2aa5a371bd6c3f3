import { readFile } from 'node:fs/promises'

import { messageOf } from '../../errors.ts'
import { CALLS } from '../../machineid/calls.ts'
import { verifyDrill } from '../../machineid/drill-signature.ts'
import { MAX_REPORT_BYTES, type DrillReportBody, type SignedDrillBody } from '../../machineid/wire-drills.ts'
import { CliError } from '../cli-error.ts'
import { EXIT, type Cli } from '../cli.ts'
import { count } from '../plural.ts'

/** Whose word the key is: `given` on the command line, `org` asked of the control plane, `file` of the report itself. */
type KeyFrom = 'given' | 'org' | 'file'

/** Indented JSON takes more room than what is sent. */
const MAX_FILE_BYTES = 16 * MAX_REPORT_BYTES

/** `drill verify FILE`. Throws `CliError` with status 3 when the report is not as it was signed. */
export async function verifyFile(cli: Cli, file: string, given: string | undefined): Promise<void> {
  const json = await readJson(file)
  const byItself = verifyDrill(json, given)
  if (byItself.problem !== undefined) throw notVerified(file, byItself.problem)
  const { drill } = byItself
  const asked = given === undefined ? await orgKey(cli, drill.report.orgId) : { why: '' }
  const orgPublicKey = 'publicKey' in asked ? asked.publicKey : undefined
  const byOrg = orgPublicKey === undefined ? byItself : verifyDrill(json, orgPublicKey)
  if (byOrg.problem !== undefined) throw notVerified(file, byOrg.problem)
  const contradiction = contradictionIn(drill)
  if (contradiction !== undefined) throw notVerified(file, contradiction)
  const from: KeyFrom = given !== undefined ? 'given' : orgPublicKey !== undefined ? 'org' : 'file'
  const { report, attestation, publicKey } = drill
  const missing = attestation.audit.filter(({ row }) => row === null).map(({ epoch }) => epoch)
  const why = 'why' in asked ? asked.why : ''
  cli.show({
    json: {
      verified: true,
      key: { from, publicKey },
      drillId: report.drillId,
      orgId: report.orgId,
      held: report.held,
      storedAt: attestation.storedAt,
      auditRows: attestation.audit.length - missing.length,
      epochsWithoutAuditRow: missing,
    },
    text: () =>
      [
        `${cli.paint.green('Verified')}: drill ${report.drillId} of org ${report.orgId} is as it was signed on ${attestation.storedAt}, by ${attestation.storedBy}.`,
        keyLine(cli, from, publicKey, why),
        auditLine(cli, attestation.audit.length, missing),
        report.held ? 'What it says: every step held.' : cli.paint.red('What it says: NOT every step held.'),
        'What it does not say: that the tool servers told the truth about their own calls.',
      ].join('\n'),
  })
}

function keyLine(cli: Cli, from: KeyFrom, publicKey: string, why: string): string {
  if (from === 'given') return 'Key: the one given with --key.'
  if (from === 'org') return 'Key: that of the org, as the control plane has just answered.'
  return cli.paint.yellow(
    `Key: only the one in the file (${publicKey}), which anybody could have made. ${why} Compare it with a key you trust: --key.`,
  )
}

function auditLine(cli: Cli, epochs: number, missing: readonly number[]): string {
  if (missing.length === 0)
    return `Audit: the control plane found a row of each of the ${count(epochs, 'stop and restore', 'stops and restores')} with an epoch.`
  return cli.paint.red(
    `Audit: the control plane had no row of epoch ${missing.join(', ')}: that did not happen as told.`,
  )
}

async function orgKey(
  cli: Cli,
  orgId: string,
): Promise<{ readonly publicKey: string } | { readonly why: string }> {
  try {
    const answer = await cli.operator('see').call(CALLS.signingKey, {}, { timeoutMs: 3000 })
    if (answer.orgId === orgId) return { publicKey: answer.publicKey }
    return { why: `The key at hand is of another org (${answer.orgId}).` }
  } catch (error) {
    return { why: `The org's key could not be asked for: ${messageOf(error)}` }
  }
}

/** A report whose parts do not agree, or that the audit does not bear out, proves nothing, whoever signed it. */
function contradictionIn({ report, attestation }: SignedDrillBody): string | undefined {
  if (report.held !== report.steps.every(({ held }) => held))
    return 'It says of the whole something else than of its steps.'
  const actions = new Map(attestation.audit.map(({ epoch, row }) => [epoch, row?.action]))
  for (const { name, held, epoch, measures } of report.steps) {
    if (held && measures.some(({ startedAfterAck }) => startedAfterAck > 0))
      return `Its step ${name} counts starts after the ack, and says that it held.`
    const action = ACTION[name]
    if (!held || action === undefined) continue
    if (epoch === null) {
      // A restore whose first try was done and its answer lost has none.
      if (STOPPING.has(name)) return `Its step ${name} says that it held, and names no epoch.`
    } else if (actions.get(epoch) === undefined) {
      return `The control plane had no row of epoch ${epoch} in its audit: that did not happen as told.`
    } else if (actions.get(epoch) !== action) {
      return `Its step ${name} has epoch ${epoch}, which is that of ${actions.get(epoch)}.`
    }
  }
  return undefined
}

/** What the audit calls it. */
const ACTION: Partial<Record<DrillReportBody['steps'][number]['name'], string>> = {
  stop: 'device.revoke',
  restore: 'device.unrevoke',
  disable_org: 'org.disable',
  enable_org: 'org.enable',
}
const STOPPING = new Set(['stop', 'disable_org'])

async function readJson(file: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new CliError(
      'FILE_NOT_READABLE',
      `${file} cannot be read: ${messageOf(cause)}. Check its name.`,
      EXIT.error,
      {
        cause,
      },
    )
  }
  if (text.length > MAX_FILE_BYTES) throw notVerified(file, 'It is too large to be a report.')
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw notVerified(file, 'This is no JSON.')
  }
}

function notVerified(file: string, problem: string): CliError {
  return new CliError('NOT_VERIFIED', `${file} is NOT VERIFIED. ${problem} Do not rely on it.`, EXIT.denied)
}
