import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { digestOf } from '../../canonical-json.ts'
import { messageOf } from '../../errors.ts'
import { CALLS } from '../../machineid/calls.ts'
import { verifyDrill } from '../../machineid/drill-signature.ts'
import { MAX_REPORT_BYTES, type DrillReportBody, type SignedDrillBody } from '../../machineid/wire-drills.ts'
import { CliError } from '../cli-error.ts'
import type { OperatorClient } from '../operator-client.ts'
import { markdownOf } from './markdown.ts'
import { latencyPlot, type EndedCall } from './plot.ts'

export interface Written {
  readonly dir: string
  readonly signed: SignedDrillBody | undefined
  /** Why it is not signed. */
  readonly unsigned: string | undefined
}

/** Has the report signed, and writes it to `DATA_DIR/drills/<drillId>`: whatever happens, it is kept. */
export async function writeReport(
  drillsDir: string,
  given: DrillReportBody,
  ended: readonly EndedCall[],
  signer: OperatorClient | undefined,
): Promise<Written> {
  const report = fitting(given)
  const dir = join(drillsDir, report.drillId)
  await mkdir(dir, { recursive: true })
  let signed: SignedDrillBody | undefined
  let unsigned: string | undefined = 'Hosted MachineID has nothing to sign it with.'
  if (signer !== undefined) {
    try {
      signed = await sign(signer, report)
      unsigned = undefined
    } catch (error) {
      unsigned = messageOf(error)
    }
  }
  const name = signed === undefined ? 'report-unsigned.json' : 'report.json'
  await write(join(dir, name), `${JSON.stringify(signed ?? { report }, null, 2)}\n`)
  await write(join(dir, 'latency.svg'), latencyPlot(ended))
  await write(join(dir, 'report.md'), markdownOf(report, { signed, unsigned }))
  return { dir, signed, unsigned }
}

/** What comes back is looked at: it must be this report, and signed. */
async function sign(signer: OperatorClient, report: DrillReportBody): Promise<SignedDrillBody> {
  const { drill } = await signer.call(
    CALLS.drillStore,
    { report },
    { outlivesInterrupt: true, timeoutMs: 5000 },
  )
  const { problem } = verifyDrill(drill)
  if (problem !== undefined)
    throw new CliError('BAD_SIGNATURE', `What the control plane answered is no proof. ${problem}`)
  if (digestOf(drill.report) !== digestOf(report))
    throw new CliError('BAD_SIGNATURE', 'The control plane signed another report than the one it was given.')
  return drill
}

/** Never half a file, which would look like a report that was altered. */
async function write(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text, { mode: 0o600 })
  await rename(`${file}.part`, file)
}

const ENVELOPE_BYTES = 64

/** The points of the plot go first: of a report that is too large, every second one is left out. */
function fitting(report: DrillReportBody): DrillReportBody {
  let fits = report
  while (
    Buffer.byteLength(JSON.stringify(fits)) + ENVELOPE_BYTES > MAX_REPORT_BYTES &&
    fits.endedMs.length > 0
  )
    fits = { ...fits, endedMs: fits.endedMs.filter((_, index) => index % 2 === 1) }
  return fits
}
