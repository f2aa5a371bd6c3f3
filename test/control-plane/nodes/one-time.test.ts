import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'

import type { Clock } from '../../../src/clock.ts'
import { createLogger } from '../../../src/log.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { serveControlPlane } from '../../../src/programs/serve-control-plane.ts'
import { openControlPlaneStore } from '../../../src/store/postgres/control-plane.ts'
import { openEventStream } from '../../fixtures/event-stream.ts'
import { logLines } from '../../fixtures/log-lines.ts'
import { startTestNodes, type TestNode, type TestNodes } from '../../fixtures/nodes.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { LOCAL, OWNER } from '../../fixtures/recovery.ts'
import { idOf } from '../key-calls.ts'
import { send, signIn } from '../sessions/browser.ts'

const DEVICE = 'openai-agent:test:payments:01'
const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

describe.skipIf(noPostgres)('time, for nodes that share a Postgres', () => {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())
  beforeEach(async () => {
    url = await server.createDatabase()
  })
  afterEach(() => void vi.useRealTimers())
  const sql = (text: string) => server.query(url, text.replaceAll('$$', 'holdpoint_control_plane.'))
  const rotate = (at: TestNode, key: string, { keys }: TestNodes, overlapSeconds: number) =>
    at.post(PATHS.keyRotate.replace(':id', idOf(key)), { overlapSeconds }, keys.admin)
  const asked = async (at: TestNode, key: string) => (await at.validate(DEVICE, key)).body.code as string

  test('is the database’s: whatever this machine believes, and while that changes, it dates and decides the same', async () => {
    const realMs = Date.now()
    const isNow = (time: unknown, inMs = 0) => Math.abs(Date.parse(String(time)) - inMs - realMs) < MINUTE_MS
    vi.useFakeTimers({ toFake: ['Date'], now: realMs + HOUR_MS })
    await using nodes = await startTestNodes({ url, count: 1 })
    const [a] = nodes.all
    const { keys, orgId } = nodes
    await a.post(PATHS.register, { deviceId: DEVICE }, keys.full)
    await a.controlPlane.service.changeOwners(LOCAL, orgId, { add: [OWNER] })
    for (const shiftMs of [HOUR_MS, -HOUR_MS, 0]) {
      vi.setSystemTime(realMs + shiftMs)
      const { service } = a.controlPlane
      const { key } = await service.issueKey({ orgId, kind: 'runtime' })
      const { body: rotated } = await rotate(a, key, nodes, 600)
      expect(isNow(rotated.replaces.endsAt, 600_000)).toBe(true)
      const { session, get } = await signIn(a, { key: keys.admin })
      expect(isNow(session.startedAt)).toBe(true)
      const link = await service.createRecoveryLink(LOCAL, orgId, OWNER)
      const { body } = await a.get(PATHS.audit, keys.admin)
      const dates: string[] = body.rows.map(({ at }: { at: string }) => at)
      expect(dates.length).toBeGreaterThan(3)
      expect(dates.filter((at) => !isNow(at))).toEqual([])

      // What was begun by one clock goes on by another.
      vi.setSystemTime(realMs - shiftMs)
      expect((await get(PATHS.list)).status).toBe(200)
      expect(await asked(a, key)).toBe('ALLOW')
      expect((await a.post(PATHS.orgRecoverConfirm, { token: link?.token })).status).toBe(200)
      expect(isNow((await a.get(PATHS.diagnosis, keys.viewer)).body.now)).toBe(true)
    }
    const seen = async () =>
      (await sql('SELECT at_ms::text FROM $$devices_seen')).map(({ at_ms: at }) => Number(at))
    await expect
      .poll(seen, { timeout: 3000 })
      .toSatisfy(([at = 0]: number[]) => Math.abs(at - realMs) < MINUTE_MS)
  })

  test('is the same in threads that answer validates, and so is how many nodes there are', async () => {
    const log = createLogger({ level: 'silent' })
    const store = await openControlPlaneStore({
      url,
      poolSize: 4,
      timeoutMs: 5000,
      consistency: 'primary',
      log,
    })
    const served = await serveControlPlane({
      store,
      log,
      host: '127.0.0.1',
      port: 0,
      operatorPort: 0,
      loopback: true,
      source: {
        kind: 'postgres',
        url,
        poolSize: 2,
        timeoutMs: 5000,
        consistency: 'primary',
        knowledge: store.knowledge,
      },
      limits: { perKeyPerSecond: 4, perOrgPerSecond: 0 },
      onDied: (error) => {
        throw error
      },
    })
    try {
      const { service, nodes, housekeeping } = served.controlPlane
      // It would write down that a key has ended.
      await housekeeping.close()
      const { orgId, keys } = await service.createOrg({ kinds: ['runtime'] })
      const runtime = keys.runtime ?? ''
      await service.register(LOCAL, orgId, { deviceId: DEVICE })
      const ask = async (key: string) =>
        (
          await send(`${served.url}${PATHS.validate}`, {
            body: { deviceId: DEVICE },
            headers: { 'x-org-key': key },
          })
        ).body.code as string
      const others = "('x1'), ('x2'), ('x3')"
      await sql(
        `INSERT INTO $$nodes SELECT id, 'elsewhere', 1, '1', 0, ${Date.now() + HOUR_MS} FROM (VALUES ${others}) AS o (id)`,
      )
      await nodes.beat()
      expect(nodes.count()).toBe(4)
      const codes = await Promise.all(Array.from({ length: 3 }, () => ask(runtime)))
      expect(codes).toContain('RATE_LIMITED')
      expect(codes).toContain('ALLOW')

      const { key } = await service.issueKey({ orgId, kind: 'runtime' })
      await service.rotateKey(LOCAL, orgId, { keyId: idOf(key), overlapSeconds: 600 })
      expect(await ask(key)).toBe('ALLOW')
      const offset = store.shared?.clockOffset as BigInt64Array
      Atomics.add(offset, 0, BigInt(HOUR_MS * 1000))
      await expect.poll(() => ask(key), { interval: 300 }).toBe('KEY_EXPIRED')
    } finally {
      await served.close({ graceMs: 0 })
    }
  })

  test('what ended stays ended, though the clock of a new primary is an hour behind', async () => {
    let nowMs = Date.now()
    const clock: Clock = { now: () => ({ monotonicMs: performance.now(), wallMs: nowMs }) }
    await using nodes = await startTestNodes({ url, count: 2, clock })
    const [a, b] = nodes.all
    const { keys, orgId } = nodes
    const { service } = a.controlPlane
    await a.post(PATHS.register, { deviceId: DEVICE }, keys.full)
    await service.changeOwners(LOCAL, orgId, { add: [OWNER] })
    const link = await service.createRecoveryLink(LOCAL, orgId, OWNER)
    const person = await signIn(a, { key: keys.operator })
    await rotate(a, keys.runtime, nodes, 60)
    await service.setPlan(LOCAL, orgId, {
      tier: 'scale',
      state: 'canceled',
      accessUntilMs: nowMs + MINUTE_MS,
    })

    nowMs += 2 * HOUR_MS
    await a.controlPlane.housekeeping.tick()
    await a.close()
    nowMs -= 2 * HOUR_MS
    expect(await asked(b, keys.runtime)).toBe('KEY_EXPIRED')
    const cookie = { headers: { cookie: person.cookie } }
    expect((await send(`${b.operatorUrl}${PATHS.list}`, cookie)).status).toBe(401)
    expect((await b.post(PATHS.orgRecoverConfirm, { token: link?.token })).status).toBe(410)
    expect((await b.get(PATHS.usage, keys.viewer)).body).toMatchObject({ planTier: 'free', limit: 3 })
  })

  describe('housekeeping', () => {
    test('tells one log of a stop that is overdue, once, and the feed of every node', async () => {
      const { log, lines } = logLines()
      await using nodes = await startTestNodes({ url, count: 3, log })
      const [a] = nodes.all
      const { keys } = nodes
      const overdue = (name: string) =>
        lines().filter(({ msg, reason }) => String(msg).startsWith('a stop is overdue') && reason === name)
      const tick = (among: readonly TestNode[]) =>
        Promise.all(among.map(({ controlPlane }) => controlPlane.housekeeping.tick()))
      const stop = async (reason: string) => {
        const body = { pattern: `${reason}:*`, reason, remindAfterSeconds: 3600 }
        expect((await a.post(PATHS.locks, body, keys.operator)).status).toBe(200)
        await sql(
          'UPDATE $$locks SET remind_at_ms = remind_at_ms - 3600000 WHERE remind_at_ms > 0 AND changed_at_ms < remind_at_ms',
        )
      }
      const feeds = await Promise.all(
        nodes.all.map(({ operatorUrl }) =>
          openEventStream(`${operatorUrl}${PATHS.feed}`, { 'x-org-key': keys.viewer }),
        ),
      )
      await tick(nodes.all)
      await stop('first')
      for (let seconds = 0; seconds < 3; seconds++) await tick(nodes.all)
      expect(overdue('first')).toHaveLength(1)
      for (const feed of feeds) await feed.next(1, ({ data }) => JSON.stringify(data).includes('overdue'))

      // Whoever did it is gone: the next one goes on where it ended.
      await stop('second')
      const [row] = await sql('SELECT node_id FROM $$chores')
      const doer = nodes.all.find(({ store }) => store.shared?.nodeId === row?.['node_id'])
      const rest = nodes.all.filter((node) => node !== doer)
      await tick(rest)
      expect(overdue('second')).toEqual([])
      await doer?.close()
      await tick(rest)
      await tick(rest)
      expect(overdue('second')).toHaveLength(1)
      expect(overdue('first')).toHaveLength(1)
      for (const feed of feeds) feed[Symbol.dispose]()
    })

    test('ends each key, plan and session once, also when every node does it at the same time', async () => {
      await using nodes = await startTestNodes({ url, count: 3 })
      const [a] = nodes.all
      const { keys, orgId } = nodes
      await rotate(a, keys.runtime, nodes, 60)
      await signIn(a, { key: keys.operator })
      await a.controlPlane.service.setPlan(LOCAL, orgId, {
        tier: 'scale',
        state: 'canceled',
        accessUntilMs: Date.now() + MINUTE_MS,
      })
      await sql('UPDATE $$keys SET ends_at_ms = ends_at_ms - 60000 WHERE ends_at_ms IS NOT NULL')
      await sql(
        'UPDATE $$orgs SET access_until_ms = access_until_ms - 60000 WHERE access_until_ms IS NOT NULL',
      )
      await sql('UPDATE $$sessions SET idle_at_ms = idle_at_ms - 3600001')
      await Promise.all(
        nodes.all.flatMap(({ controlPlane: { service } }) => [
          service.endPlans(),
          service.endKeys(),
          service.endIdleSessions(),
        ]),
      )
      const rows = await sql(
        `SELECT action, count(*)::int AS times FROM $$audit
         WHERE action IN ('key.expired', 'org.plan_ended', 'session.end') GROUP BY action ORDER BY action`,
      )
      expect(rows).toEqual(
        ['key.expired', 'org.plan_ended', 'session.end'].map((action) => ({ action, times: 1 })),
      )
    })

    test('deletes what is old on several nodes at once without waiting or failing', async () => {
      await using nodes = await startTestNodes({ url, count: 3 })
      const { orgId } = nodes
      await sql(
        `INSERT INTO $$decisions (org_id, request_id, ordinal, key_id, device_id, code, asked, at_ms)
         SELECT '${orgId}', '00000000-0000-7000-8000-' || lpad(n::text, 12, '0'), 0, 'k', 'd', 'ALLOW', 'validate', 0
         FROM generate_series(1, 3000) AS n`,
      )
      const pruneAll = async ({ store }: TestNode) => {
        const others = [
          store.pruneLinks(Date.now(), 500),
          store.pruneSessions(0, 500),
          store.expireApprovals(Date.now(), 500),
          store.pruneApprovals(0, 500),
          store.pruneRunReports({ runsBeforeMs: 0, heardBeforeMs: 0 }, 500),
          store.pruneStopEvidence(0, 500),
        ]
        await Promise.all([...others, store.shared?.pruneNodes(500) ?? Promise.resolve()])
        return store.pruneDecisions(Date.now(), 500)
      }
      let deleted = 0
      for (let turn = 0; turn < 4 && deleted < 3000; turn++) {
        const all = await Promise.all(nodes.all.map(pruneAll))
        deleted += all.reduce((sum, decisions) => sum + decisions, 0)
      }
      expect(deleted).toBe(3000)
    })
  })
})
