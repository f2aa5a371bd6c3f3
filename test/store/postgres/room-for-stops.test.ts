import { describe, expect, onTestFinished, test } from 'vitest'

import { createLogger } from '../../../src/log.ts'
import { openControlPlaneStore } from '../../../src/store/postgres/control-plane.ts'
import { KEY, ORG } from '../../contract/control-plane-records.ts'
import { noPostgres, startPostgres } from '../../fixtures/postgres.ts'

const UNKNOWN = { code: 'STORE_OUTCOME_UNKNOWN' }

describe.skipIf(noPostgres)('while no standby confirms a change', () => {
  test('changes of other orgs, each of which holds its connection in vain, leave room for a stop', async () => {
    const server = await startPostgres()
    onTestFinished(() => server.close())
    const store = await openControlPlaneStore({
      url: await server.createDatabase(),
      poolSize: 10,
      timeoutMs: 500,
      consistency: 'primary',
      log: createLogger({ level: 'silent' }),
    })
    onTestFinished(() => store.close())
    const put = (orgId: string, epoch: number, isStop = false) =>
      store.change(orgId, { isStop }, () => ({ org: { ...ORG, orgId, epoch }, result: undefined }))
    const others = Array.from({ length: 20 }, (_, n) => `other_${n}`)
    for (const orgId of others) await put(orgId, 0)
    await store.change(ORG.orgId, {}, () => ({ org: ORG, keys: [KEY], result: undefined }))
    await server.configure("synchronous_standby_names = 'nobody'")
    server.reload()
    await expect
      .poll(() => server.query(server.url, 'SHOW synchronous_standby_names'))
      .toMatchObject([{ synchronous_standby_names: 'nobody' }])

    const flood = () => Promise.allSettled(others.map((orgId) => put(orgId, 1)))
    const floods = []
    for (const epoch of [1, 2]) {
      floods.push(flood())
      await expect(put(ORG.orgId, epoch, true)).rejects.toMatchObject(UNKNOWN)
      await expect.poll(async () => (await store.reader.read(KEY.keyId, []))?.orgEpoch).toBe(epoch)
    }
    for (const all of await Promise.all(floods))
      expect(new Set(all.map(({ status }) => status))).toEqual(new Set(['rejected']))
  }, 20_000)
})
