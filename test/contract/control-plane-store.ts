import { afterEach, beforeEach, describe } from 'vitest'

import type { DeviceRecord, OrgRecord } from '../../src/control-plane/records.ts'
import type { Change, ControlPlaneStore, OrgSnapshot, Wanted } from '../../src/control-plane/store.ts'
import { auditEntry, KEY, ORG } from './control-plane-records.ts'
import { describeApprovals } from './control-plane-store-approvals.ts'
import { describeChanges } from './control-plane-store-changes.ts'
import { describeDevices } from './control-plane-store-devices.ts'
import { describeDrills } from './control-plane-store-drills.ts'
import { describeEvidence } from './control-plane-store-evidence.ts'
import { describeReader } from './control-plane-store-reader.ts'
import { describeRecords } from './control-plane-store-records.ts'
import { describeSessions } from './control-plane-store-sessions.ts'
import { describeRunReports } from './control-plane-store-runs.ts'
import { describeStops } from './control-plane-store-stops.ts'

/** A store that can be opened again on what it has kept. */
export interface StoreUnderTest {
  open(): Promise<ControlPlaneStore>
  /** Deletes what was kept. */
  discard(): Promise<void>
}

/** What the parts of the suite work with. The store holds `ORG` with `KEY`, and one owner. */
export interface Fixture {
  readonly store: ControlPlaneStore
  readonly reopen: () => Promise<void>
  /** Writes to `ORG`, or to the org it is given. */
  readonly write: (change: Omit<Change<unknown>, 'result'>, orgId?: string) => Promise<void>
  /** Reads of `ORG`, or of the org it is given. */
  readonly look: (wanted?: Wanted, orgId?: string) => Promise<OrgSnapshot>
  /** Devices, with as many slots taken. */
  readonly put: (...devices: DeviceRecord[]) => Promise<void>
  /** Another org, with a key of its own. */
  readonly addOrg: (org: Partial<OrgRecord> & { readonly orgId: string }, keyId: string) => Promise<void>
}

/** One suite for every implementation of the port. */
export function describeControlPlaneStore(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`control plane store: ${name}`, () => {
    let under: StoreUnderTest
    let store: ControlPlaneStore
    const fixture: Fixture = {
      get store() {
        return store
      },
      reopen: async () => {
        await store.close()
        store = await under.open()
      },
      write: async (change, orgId = ORG.orgId) =>
        void (await store.change(orgId, {}, () => ({ ...change, result: undefined }))),
      look: async (wanted = {}, orgId = ORG.orgId) =>
        (await store.change(orgId, wanted, (snapshot) => ({ result: mustHave(snapshot) }))).result,
      put: async (...devices) => {
        const { org } = await fixture.look()
        const slots = devices.filter(({ slot }) => slot !== null).length
        await fixture.write({ org: { ...org, used: org.used + slots }, devices })
      },
      addOrg: (org, keyId) =>
        fixture.write({ org: { ...ORG, ...org }, keys: [{ ...KEY, keyId, orgId: org.orgId }] }, org.orgId),
    }
    beforeEach(async () => {
      under = await make()
      store = await under.open()
      await fixture.write({
        org: ORG,
        keys: [KEY],
        addOwners: ['owner@example.com'],
        audit: [auditEntry('org.create')],
      })
    })
    afterEach(async () => {
      await store.close()
      await under.discard()
    })

    describeChanges(fixture)
    describeDevices(fixture)
    describeRecords(fixture)
    describeEvidence(fixture)
    describeReader(fixture)
    describeStops(fixture)
    describeDrills(fixture)
    describeApprovals(fixture)
    describeRunReports(fixture)
    describeSessions(fixture)
  })
}

function mustHave(snapshot: OrgSnapshot | undefined): OrgSnapshot {
  if (snapshot === undefined) throw new Error('the org is missing')
  return snapshot
}
