import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { newSigningKey, signAttestation, verifyDrill } from '../../../src/machineid/drill-signature.ts'
import {
  DiagnosisResponse,
  DrillResponse,
  DrillsResponse,
  SigningKeyResponse,
  type DrillReportBody,
  type SignedDrillBody,
} from '../../../src/machineid/wire-drills.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { CANARY, drillReport } from '../../fixtures/drill-report.ts'

let authority: TestControlPlane
beforeEach(async () => {
  authority = await startTestControlPlane()
})
afterEach(() => authority.close())

const reportOf = (drillId: string, changes: Partial<DrillReportBody> = {}) =>
  drillReport(authority.orgId, drillId, changes)
const store = (report: unknown, key = authority.keys.operator) =>
  authority.post(PATHS.drills, { report }, key)
const signedDrill = async (report: DrillReportBody): Promise<SignedDrillBody> =>
  DrillResponse.parse((await store(report)).body).drill
const get = async (path: string) => (await authority.get(path, authority.keys.viewer)).body
const publicKey = async () => SigningKeyResponse.parse(await get(PATHS.signingKey)).publicKey
const step = (epoch: number | null) => ({ ...reportOf('x').steps[0]!, epoch })

describe('a drill that is stored', () => {
  test('comes back signed with the key that the org publishes, as it was sent', async () => {
    const report = reportOf('drill-1')
    const drill = await signedDrill(report)
    expect(drill.report).toEqual(report)
    expect(drill.attestation).toMatchObject({
      drillId: 'drill-1',
      orgId: authority.orgId,
      storedBy: expect.stringMatching(/^operator:[a-z2-7]{16}$/),
    })
    expect(verifyDrill(drill, await publicKey())).toEqual({ drill })
    const shown = DrillResponse.parse(await get(PATHS.drill.replace(':id', 'drill-1')))
    expect(shown.drill).toEqual(drill)
    expect(verifyDrill(JSON.parse(JSON.stringify(shown.drill)), await publicKey()).problem).toBeUndefined()
  })

  test('is checked against the audit: each stop and restore it names, and none it made up', async () => {
    await authority.register(CANARY)
    const stopped = await authority.revoke(CANARY)
    const restored = await authority.restore(CANARY)
    const disabled = (await authority.post(PATHS.orgDisable, {}, authority.keys.stop)).body.epoch
    const steps = [stopped, restored, disabled, 4711, null].map(step)
    const { attestation } = await signedDrill(reportOf('drill-1', { steps }))
    expect(attestation.audit).toMatchObject([
      { epoch: stopped, row: { action: 'device.revoke' } },
      { epoch: restored, row: { action: 'device.unrevoke' } },
      { epoch: disabled, row: { action: 'org.disable' } },
      { epoch: 4711, row: null },
    ])
    const { body } = await authority.get(PATHS.audit, authority.keys.viewer)
    const rows = body.rows as { seq: number; hash: string }[]
    for (const { row } of attestation.audit.slice(0, 3)) {
      expect(rows.find(({ seq }) => seq === row?.seq)).toMatchObject({ hash: row?.hash })
    }
    expect(attestation.auditHead).toEqual({ seq: rows.at(-1)?.seq, hash: rows.at(-1)?.hash })
  })

  test('has an id of its own: a used one is refused, and nothing is changed', async () => {
    const drill = await signedDrill(reportOf('drill-1'))
    const again = await store(reportOf('drill-1', { callsPerSecond: 99 }))
    expect([again.status, again.body.code]).toEqual([409, 'DRILL_EXISTS'])
    expect((await get(PATHS.drill.replace(':id', 'drill-1'))).drill).toEqual(drill)
    const other = await authority.service.createOrg({ kinds: ['operator'] })
    const theirs = await store(drillReport(other.orgId, 'drill-1'), other.keys.operator)
    expect(theirs.status).toBe(200)
  })

  test.each([
    ['of another org', { orgId: 'o_other' }, /report\.orgId/],
    [
      'that says it held when a step did not',
      { steps: [{ ...drillReport('', '').steps[0]!, held: false }] },
      /held/,
    ],
    [
      'with a key in it',
      {
        toolServers: [
          { url: 'http://x/?k=org_runtime_aaaaaaaaaaaaaaaa', replica: 'r', stopStream: 'up' as const },
        ],
      },
      /looks like a key/,
    ],
  ])('%s is refused', async (_, changes, message) => {
    const { status, body } = await store(reportOf('drill-1', changes))
    expect([status, body.code]).toEqual([400, 'BAD_REQUEST'])
    expect(body.message).toMatch(message)
    expect((await get(PATHS.drills)).drills).toEqual([])
  })

  test('is listed, newest first, in pages', async () => {
    for (const id of ['a', 'b', 'c']) await signedDrill(reportOf(id))
    const page = DrillsResponse.parse(await get(`${PATHS.drills}?limit=2`))
    const next = DrillsResponse.parse(await get(`${PATHS.drills}?limit=2&cursor=${page.nextCursor}`))
    expect(new Set([...page.drills, ...next.drills].map(({ drillId }) => drillId))).toEqual(
      new Set(['a', 'b', 'c']),
    )
    expect([page.drills.length, next.drills.length, next.nextCursor]).toEqual([2, 1, null])
    expect((await get(`${PATHS.drills}?cursor=NO`)).code).toBe('BAD_REQUEST')
    expect((await get(PATHS.drill.replace(':id', 'none'))).code).toBe('NOT_FOUND')
  })
})

test('the signing key is one for each org, and stays when the control plane starts anew', async () => {
  const key = await publicKey()
  const other = await authority.service.createOrg({ kinds: ['viewer'] })
  const theirs = await authority.get(PATHS.signingKey, other.keys.viewer)
  expect(theirs.body.publicKey).not.toBe(key)
  const drill = await signedDrill(reportOf('drill-1'))
  await authority.restart()
  expect(await publicKey()).toBe(key)
  expect(drill.publicKey).toBe(key)
})

describe('a signed drill is not believed', () => {
  const cases: readonly (readonly [string, (drill: SignedDrillBody) => unknown, RegExp])[] = [
    ['when its report was altered', (d) => ({ ...d, report: { ...d.report, callsPerSecond: 1 } }), /report/],
    ['when something was added to it', (d) => ({ ...d, report: { ...d.report, extra: true } }), /report/],
    [
      'when a step became one that held',
      (d) => ({ ...d, report: { ...d.report, steps: d.report.steps.map((s) => ({ ...s, note: 'fine' })) } }),
      /report/,
    ],
    [
      'when what the authority attests was altered',
      (d) => ({ ...d, attestation: { ...d.attestation, storedBy: 'admin:x' } }),
      /signature/,
    ],
    [
      'when something was added to what it attests',
      (d) => ({ ...d, attestation: { ...d.attestation, extra: 1 } }),
      /signature/,
    ],
    [
      'when its signature is another',
      (d) => ({ ...d, signature: d.signature.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')) }),
      /signature/,
    ],
    ['when its signature is none', (d) => ({ ...d, signature: '' }), /signature/],
    ['when its key is none', (d) => ({ ...d, publicKey: 'AAAA' }), /signature/],
    ['when it is of another kind of key', (d) => ({ ...d, publicKey: ecKey() }), /signature/],
    ['when it is nothing of the kind', () => 'a drill', /no signed drill/],
  ]
  test.each(cases)('%s', async (_, alter, problem) => {
    expect(verifyDrill(alter(await signedDrill(reportOf('drill-1')))).problem).toMatch(problem)
  })

  test('when somebody else signed it with a key of his own', async () => {
    const drill = await signedDrill(reportOf('drill-1'))
    const forger = newSigningKey()
    const attestation = { ...drill.attestation, storedBy: 'admin:me' }
    const forged = {
      ...drill,
      attestation,
      signature: signAttestation(attestation, forger.privateKey),
      publicKey: forger.publicKey,
    }
    expect(verifyDrill(forged).problem).toBeUndefined()
    expect(verifyDrill(forged, await publicKey()).problem).toMatch(/another key/)
  })

  test('when it is put together of two', async () => {
    const [one, two] = [await signedDrill(reportOf('one')), await signedDrill(reportOf('two'))]
    expect(verifyDrill({ ...one, report: two.report }).problem).toMatch(/report/)
  })
})

function ecKey(): string {
  const { publicKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return key.export({ type: 'spki', format: 'der' }).toString('base64url')
}

describe('a cut', () => {
  const cut = (deviceId: string, seconds = 5) =>
    authority.post(PATHS.drillCut, { deviceId, seconds }, authority.keys.operator)

  test('is of a canary only, whose third segment says so', async () => {
    const notOne = ['openai-agent:test:payments:01', 'canary:test:payments:01', 'a:canary', 'a:b:canary2:01']
    for (const deviceId of notOne) {
      const { status, body } = await cut(deviceId)
      expect([status, body.code]).toEqual([400, 'BAD_REQUEST'])
      expect(body.message).toMatch(/third segment is "canary"/)
    }
    expect((await cut('openai-agent:test:canary')).status).toBe(200)
  })

  test('is in the audit, raises no epoch, and is no stop', async () => {
    const before = (await get(PATHS.usage)).org.epoch
    const { body } = await cut(CANARY)
    expect(body).toMatchObject({ deviceId: CANARY, until: expect.stringMatching(/Z$/) })
    const rows = (await get(PATHS.audit)).rows as { action: string; deviceId: string; after: unknown }[]
    expect(rows.at(-1)).toMatchObject({
      action: 'drill.cut',
      deviceId: CANARY,
      after: { seconds: 5, until: body.until },
    })
    expect((await get(PATHS.usage)).org.epoch).toBe(before)
    expect((await get(PATHS.stopHistory)).stops).toEqual([])
  })

  test('leaves the questions of the canary without an answer until it ends, and nobody else’s', async () => {
    const ask = (deviceId: string) =>
      authority.post(PATHS.validate, { deviceId }, authority.keys.runtime).then(
        ({ status }) => status,
        () => 'no answer',
      )
    await cut(CANARY, 60)
    expect([await ask(CANARY), await ask('openai-agent:test:canary:02')]).toEqual(['no answer', 200])
    await cut(CANARY, 0)
    expect(await ask(CANARY)).toBe(200)
  })
})

test('a diagnosis says how the store and the process are set up', async () => {
  const body = DiagnosisResponse.parse(await get(PATHS.diagnosis))
  expect(body).toMatchObject({
    orgId: authority.orgId,
    store: { kind: 'sqlite', journalMode: 'wal', synchronous: 'full', generation: 0 },
    nodes: 1,
    validateWorkers: 1,
    decisionLog: 'denials',
    streams: 0,
  })
  expect(Math.abs(Date.parse(body.now) - Date.now())).toBeLessThan(60_000)
})
