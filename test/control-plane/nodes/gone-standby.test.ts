import { afterEach, beforeEach, describe, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { noPostgres, startReplicated, type TestPostgres } from '../../fixtures/postgres.ts'
import { runMain, temporaryDirectory } from '../../fixtures/program.ts'
import { bodiesOf, current, listenForStops, PAYMENTS, SERVER } from '../stops/stream-client.ts'
import { startNodes } from './nodes-world.ts'

// Nothing can be acked then. But whoever wants to stop something must find a node, which puts the stop in force.

describe.skipIf(noPostgres)('while the synchronous standby is gone', { timeout: 60_000 }, () => {
  let primary: TestPostgres
  let standby: TestPostgres
  beforeEach(async () => {
    ;[primary, standby] = await startReplicated()
  })
  afterEach(async () => {
    await primary?.close()
    await standby?.close()
  })

  test.for([
    ['dead', () => standby.kill(), () => standby.start()],
    ['hung', () => standby.freeze(), () => standby.thaw()],
  ] as const)(
    'a node stays ready and another one starts; a stop is in force, told as unknown, and reaches streams: it is %s',
    async ([how, goes, comes], { expect }) => {
      const { databaseUrl, keys, of } = await startNodes(primary, ['a'], { threads: true })
      const { url, operatorUrl, post, controlPlane, close } = of.a
      for (const deviceId of [SERVER, PAYMENTS]) await post(PATHS.register, { deviceId }, keys.full)
      using stream = await current(await listenForStops({ url, keys }))
      goes()
      try {
        const readiness = async () => {
          await controlPlane.nodes.beat()
          return Promise.all(
            [url, operatorUrl].map(async (origin) => (await fetch(`${origin}${PATHS.readyz}`)).status),
          )
        }
        expect(await readiness()).toEqual([200, 200])

        const stopping = await fetch(`${url}${PATHS.revoke}`, {
          method: 'POST',
          headers: { 'x-org-key': keys.stop, 'content-type': 'application/json' },
          body: JSON.stringify({ deviceId: PAYMENTS, reason: 'test' }),
        })
        expect([stopping.status, await stopping.json()]).toMatchObject([
          503,
          { code: 'STORE_OUTCOME_UNKNOWN' },
        ])
        const asked = { deviceId: PAYMENTS }
        expect(await post(PATHS.validate, asked, keys.runtime)).toMatchObject({ code: 'DEVICE_REVOKED' })
        await stream.next(1, ({ event }) => event === 'stop')
        expect(bodiesOf(stream).at(-1)).toMatchObject({ type: 'stop', deviceIds: [PAYMENTS] })

        await using dir = await temporaryDirectory()
        const other = runMain(['control-plane'], {
          DATABASE_URL: databaseUrl,
          PLATFORM_TOKEN: 'p'.repeat(32),
          DATA_DIR: dir.path,
          CONTROL_PLANE_PORT: '0',
          OPERATOR_PORT: '0',
        })
        await other.printed('control plane is listening')
        if (how === 'dead') expect(other.output()).toContain('No synchronous standby is there')
        expect(await readiness()).toEqual([200, 200])
        other.process.kill('SIGKILL')
        await other.ended
      } finally {
        await comes()
      }
      const acked = await post(PATHS.revoke, { deviceId: SERVER, reason: 'test' }, keys.stop)
      expect(acked).toMatchObject({ status: 'ok' })
      // Before Postgres.
      await close()
    },
  )
})
