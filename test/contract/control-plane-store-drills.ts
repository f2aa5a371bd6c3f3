import { describe, expect, test } from 'vitest'

import { newSigningKey } from '../../src/machineid/drill-signature.ts'
import type { SignedDrillBody } from '../../src/machineid/wire-drills.ts'
import { drillReport } from '../fixtures/drill-report.ts'
import { ORG } from './control-plane-records.ts'
import type { Fixture } from './control-plane-store.ts'

function signed(drillId: string, changes: Parameters<typeof drillReport>[2] = {}): SignedDrillBody {
  return {
    report: drillReport(ORG.orgId, drillId, changes),
    attestation: {
      drillId,
      orgId: ORG.orgId,
      reportSha256: 'ab'.repeat(32),
      storedAt: '2026-11-22T08:01:00.000Z',
      storedBy: 'operator:k',
      audit: [{ epoch: 1, row: null }],
      auditHead: null,
    },
    signature: 'c2ln',
    publicKey: 'a2V5',
  }
}

export function describeDrills(fixture: Fixture): void {
  const { addOrg, reopen } = fixture
  const save = (drillId: string, atMs: number, changes = {}) =>
    fixture.store.saveDrill(ORG.orgId, signed(drillId, changes), atMs)

  describe('drills', () => {
    test('are kept as they were signed, each id once', async () => {
      expect(await save('d1', 10)).toBe(true)
      expect(await save('d1', 20, { held: false })).toBe(false)
      await reopen()
      expect(await fixture.store.findDrill(ORG.orgId, 'd1')).toEqual(signed('d1'))
      expect(await fixture.store.findDrill(ORG.orgId, 'd2')).toBeUndefined()
    })

    test('are listed newest first, in pages, by what was worst of them', async () => {
      await save('d1', 10)
      await save('d3', 20, { held: false, steps: [] })
      await save('d2', 20)
      const list = (before?: string, limit = 2) => fixture.store.listDrills(ORG.orgId, { before, limit })
      expect((await list()).map(({ drillId }) => drillId)).toEqual(['d3', 'd2'])
      expect(await list('d2')).toEqual([
        {
          drillId: 'd1',
          startedAt: '2026-11-22T08:00:00.000Z',
          held: true,
          target: 'canary',
          endedP99Ms: 12.5,
          startedAfterAck: 0,
        },
      ])
      expect((await list())[0]).toMatchObject({ held: false, endedP99Ms: null })
      expect([...(await list('d1')), ...(await list('none'))]).toEqual([])
    })

    test('belong to their org', async () => {
      await addOrg({ orgId: 'o_other' }, 'key-of-other')
      await save('d1', 10)
      expect(await fixture.store.findDrill('o_other', 'd1')).toBeUndefined()
      expect(await fixture.store.listDrills('o_other', { limit: 9 })).toEqual([])
      expect(await fixture.store.saveDrill('o_other', signed('d1'), 10)).toBe(true)
    })
  })

  test('an org keeps the signing key that it was given first', async () => {
    const [first, second, other] = [newSigningKey(), newSigningKey(), newSigningKey()]
    expect(await fixture.store.signingKey(ORG.orgId, first)).toEqual(first)
    await reopen()
    expect(await fixture.store.signingKey(ORG.orgId, second)).toEqual(first)
    await addOrg({ orgId: 'o_other' }, 'key-of-other')
    expect(await fixture.store.signingKey('o_other', other)).toEqual(other)
  })
}
