import { digestOf } from '../../canonical-json.ts'
import { newSigningKey, signAttestation } from '../../machineid/drill-signature.ts'
import type { DrillReportBody, SignedDrillBody } from '../../machineid/wire-drills.ts'
import { redact } from '../../redact.ts'
import { Refusal } from '../refusal.ts'
import type { Caller, ServiceContext } from '../service.ts'
import { crossCheck } from './cross-check.ts'
import { isCanary, type CanaryCut } from './canary.ts'

export interface DrillService {
  /** Signs and keeps a report. Throws `DRILL_EXISTS`, `BAD_REQUEST`. */
  readonly storeDrill: (caller: Caller, orgId: string, report: DrillReportBody) => Promise<SignedDrillBody>
  /** SPKI in base64url. Made when it is first asked for. */
  readonly signingKey: (orgId: string) => Promise<string>
  /** Takes note of it in the audit. Throws `BAD_REQUEST` for a device that is no canary. */
  readonly cutCanary: (
    caller: Caller,
    orgId: string,
    asked: { readonly deviceId: string; readonly seconds: number },
  ) => Promise<CanaryCut>
}

export function createDrillService({ store, nowMs, change, entry }: ServiceContext): DrillService {
  const storeSigned = async (caller: Caller, orgId: string, report: DrillReportBody) => {
    const { drillId, held } = report
    if ((await store.findDrill(orgId, drillId)) !== undefined) throw drillExists()
    const audit = await crossCheck(store, orgId, report)
    const reportSha256 = digestOf(report)
    const row = entry(caller, 'drill.store', { after: { drillId, held, reportSha256 } })
    await change(caller, orgId, {}, () => ({ result: undefined, audit: [row] }))
    const key = await store.signingKey(orgId, newSigningKey())
    const attestation = {
      drillId,
      orgId,
      reportSha256,
      storedAt: new Date(row.atMs).toISOString(),
      storedBy: `${caller.kind}:${caller.actor}`,
      audit,
      auditHead: (await store.auditHead(orgId)) ?? null,
    }
    const signature = signAttestation(attestation, key.privateKey)
    const drill = { report, attestation, signature, publicKey: key.publicKey }
    await store.saveDrill(orgId, drill, row.atMs)
    return drill
  }
  let turns: Promise<unknown> = Promise.resolve()

  return {
    storeDrill: async (caller, orgId, report) => {
      assertReport(orgId, report)
      // One after the other, so that of two with one id the second finds the first.
      const stored = turns.then(() => storeSigned(caller, orgId, report))
      turns = stored.catch(() => undefined)
      return stored
    },
    signingKey: async (orgId) => (await store.signingKey(orgId, newSigningKey())).publicKey,
    cutCanary: async (caller, orgId, { deviceId, seconds }) => {
      if (!isCanary(deviceId)) throw notACanary()
      const untilMs = nowMs() + seconds * 1000
      const after = { seconds, until: new Date(untilMs).toISOString() }
      const audit = [entry(caller, 'drill.cut', { deviceId, after })]
      return change(caller, orgId, {}, () => ({ result: { orgId, deviceId, untilMs }, audit }))
    },
  }
}

function assertReport(orgId: string, report: DrillReportBody): void {
  if (report.orgId !== orgId) {
    throw new Refusal('BAD_REQUEST', '"report.orgId" must be the org of the key that stores it.')
  }
  if (report.held !== report.steps.every(({ held }) => held)) {
    throw new Refusal('BAD_REQUEST', '"report.held" must say whether each of its steps held.')
  }
  const text = JSON.stringify(report)
  if (redact(text) !== text) {
    throw new Refusal('BAD_REQUEST', '"report" holds something that looks like a key. Leave it out.')
  }
}

function drillExists(): Refusal {
  return new Refusal(
    'DRILL_EXISTS',
    'The org has a drill of this drillId already. Nothing was changed: choose another.',
  )
}

function notACanary(): Refusal {
  return new Refusal(
    'BAD_REQUEST',
    'Only a canary can be cut off: a device whose third segment is "canary", for example openai-agent:prod:canary:01.',
  )
}
