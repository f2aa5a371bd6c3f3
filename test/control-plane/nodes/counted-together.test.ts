import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import type { DrillRunner } from '../../../src/control-plane/drills/drill-runs.ts'
import { CALL_LIMITS } from '../../../src/control-plane/limits.ts'
import { createSmtpMailer } from '../../../src/control-plane/mail-smtp.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { DrillRunResponse } from '../../../src/machineid/wire-drills.ts'
import { DecisionRatesResponse } from '../../../src/machineid/wire-evidence.ts'
import { drillReport } from '../../fixtures/drill-report.ts'
import { startTestNodes, type TestNode } from '../../fixtures/nodes.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { LOCAL, OWNER, tokenIn } from '../../fixtures/recovery.ts'
import { startTestSmtp, type TestSmtp } from '../../fixtures/smtp.ts'
import { signIn, startSession } from '../sessions/browser.ts'

const DEVICE = 'openai-agent:test:payments:01'

describe.skipIf(noPostgres)('nodes that share a Postgres', () => {
  let server: TestPostgres
  let url: string
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())
  beforeEach(async () => {
    url = await server.createDatabase()
  })
  const sql = (text: string) => server.query(url, text.replaceAll('$$', 'holdpoint_control_plane.'))

  test('know how many they are, also when one leaves, or dies', async () => {
    await using nodes = await startTestNodes({ url, count: 3 })
    const [a, b, c] = nodes.all
    const count = async (at: TestNode) => {
      await at.controlPlane.nodes.beat()
      return (await at.get(PATHS.diagnosis, nodes.keys.viewer)).body.nodes
    }
    for (const one of [a, b, c]) expect(await count(one)).toBe(3)
    await c.close()
    expect(await count(a)).toBe(2)
    const heard = (agoMs: number) =>
      sql(
        `INSERT INTO $$nodes VALUES ('silent', 'elsewhere', 1, '1', 0, ${Date.now()} - ${agoMs})
         ON CONFLICT (node_id) DO UPDATE SET heard_at_ms = excluded.heard_at_ms`,
      )
    await heard(5000)
    for (const one of [a, b]) expect(await count(one)).toBe(3)
    await heard(15_001)
    for (const one of [a, b]) expect(await count(one)).toBe(2)
  })

  describe('quotas', () => {
    test('on validates are divided among them, and anew when their number changes', async () => {
      const limits = { perKeyPerSecond: 30, perOrgPerSecond: 0 }
      await using nodes = await startTestNodes({ url, count: 3, limits })
      const [a, b, c] = nodes.all
      const allowedOf = async (asked: readonly TestNode[], times: number) => {
        const fromMs = performance.now()
        const answers = await Promise.all(
          asked.flatMap((node) =>
            Array.from({ length: times }, () => node.validate(DEVICE, nodes.keys.runtime)),
          ),
        )
        const perSecond = asked.length * 10
        const cameInMeanwhile = Math.ceil(((performance.now() - fromMs) / 1000) * perSecond)
        return { allowed: answers.filter(({ status }) => status === 200).length, cameInMeanwhile }
      }
      const { allowed, cameInMeanwhile } = await allowedOf([a, b, c], 40)
      expect(allowed).toBeGreaterThanOrEqual(30)
      expect(allowed).toBeLessThanOrEqual(30 + cameInMeanwhile)
      await b.close()
      await c.close()
      await a.controlPlane.nodes.beat()
      expect((await a.validate(`${DEVICE}9`, nodes.keys.full)).status).toBe(200)
      const alone = await allowedOf([{ ...a, validate: (id) => a.validate(id, nodes.keys.full) }], 60)
      expect(alone.allowed).toBeGreaterThanOrEqual(29)
      expect(alone.allowed).toBeLessThanOrEqual(30 + 3 * alone.cameInMeanwhile)
    })

    test('on calls are too, and keep no stop waiting', async () => {
      await using nodes = await startTestNodes({ url, count: 3, limitCalls: true })
      const [a] = nodes.all
      const fromMs = performance.now()
      const asked = await Promise.all(
        Array.from({ length: 250 }, () => a.get(PATHS.usage, nodes.keys.operator)),
      )
      const answered = asked.filter(({ status }) => status === 200).length
      const { burst, perSecond } = CALL_LIMITS.other
      const cameInMeanwhile = ((performance.now() - fromMs) / 1000) * (perSecond / 3)
      expect(answered).toBeGreaterThanOrEqual(Math.floor(burst / 3))
      expect(answered).toBeLessThanOrEqual(burst / 3 + cameInMeanwhile + 1)
      expect((await a.post(PATHS.orgDisable, { reason: 'stop' }, nodes.keys.operator)).status).toBe(200)
    })

    test('on sign-ins that fail count on all of them together; genuine keys and stops wait for nothing', async () => {
      await using nodes = await startTestNodes({ url, count: 3, limitCalls: true })
      const codes: string[] = []
      for (let tries = 0; tries < 14; tries++) {
        const at = nodes.all[tries % 3] as TestNode
        codes.push((await startSession(at, { key: `${nodes.keys.admin.slice(0, -1)}_` })).body.code)
      }
      expect(codes.filter((code) => code === 'KEY_INVALID')).toHaveLength(10)
      expect(codes.slice(10)).toEqual(Array.from({ length: 4 }, () => 'RATE_LIMITED'))
      for (const at of nodes.all) {
        expect((await startSession(at, { key: nodes.keys.admin })).status).toBe(200)
        expect((await at.post(PATHS.orgDisable, { reason: 'stop' }, nodes.keys.stop)).status).toBe(200)
      }
    })
  })

  describe('recovery', () => {
    let smtp: TestSmtp
    beforeAll(async () => {
      smtp = await startTestSmtp()
    })
    beforeEach(() => void smtp.mails.splice(0))
    afterAll(() => smtp.close())

    /** With an owner, and a mail server that each of them uses. */
    async function start({ limitCalls = false } = {}) {
      const nodes = await startTestNodes({
        url,
        count: 3,
        limitCalls,
        each: () => ({ mailer: createSmtpMailer({ smtpUrl: smtp.url, from: 'holdpoint@example.com' }) }),
        recovery: { workWithinMs: 0, retryAfterMs: [20] },
      })
      const [a] = nodes.all
      await a.controlPlane.service.changeOwners(LOCAL, nodes.orgId, { add: [OWNER] })
      const ask = async (at: TestNode) => {
        const { status } = await at.post(PATHS.orgRecover, { email: OWNER })
        await at.controlPlane.recovery.flush()
        return status
      }
      const links = () => smtp.mails.filter(({ text }) => text.includes('#token=')).map(tokenIn)
      return { nodes, ask, links, [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose]() }
    }
    const confirm = (at: TestNode, token = '') => at.post(PATHS.orgRecoverConfirm, { token })

    test('a link that one node mailed works on another one, once, also when all get it at the same instant', async () => {
      await using set = await start()
      const [a, b, c] = set.nodes.all
      await set.ask(a)
      const [first] = set.links()
      expect((await confirm(b, first)).body).toMatchObject({ kind: 'admin', orgId: set.nodes.orgId })
      for (const at of [a, b, c]) expect((await confirm(at, first)).status).toBe(410)
      for (let round = 1; round < 3; round++) {
        await set.ask(set.nodes.all[round] as TestNode)
        const token = set.links().at(-1)
        const answers = await Promise.all(
          set.nodes.all.flatMap((at) => [confirm(at, token), startSession(at, { link: token ?? '' })]),
        )
        expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 410, 410, 410, 410, 410])
      }
    })

    test('a link outlives the node that mailed it, until its time has passed: then no clock brings it back', async () => {
      await using set = await start()
      const [a, b] = set.nodes.all
      await set.ask(a)
      await set.ask(a)
      const [first, second] = set.links()
      await a.close()
      expect((await confirm(b, first)).status).toBe(200)
      await sql(
        'UPDATE $$recovery_links SET created_at_ms = created_at_ms - 900001, expires_at_ms = expires_at_ms - 900001',
      )
      expect((await confirm(b, second)).status).toBe(410)
      await set.ask(b)
      await sql('UPDATE $$recovery_links SET expires_at_ms = expires_at_ms - 900001')
      await b.controlPlane.housekeeping.tick()
      expect(await sql('SELECT * FROM $$recovery_links')).toEqual([])
    })

    test('an address gets three mails an hour, and a network asks ten times, on all nodes together', async () => {
      await using set = await start({ limitCalls: true })
      const statuses: number[] = []
      for (let turn = 0; turn < 12; turn++) statuses.push(await set.ask(set.nodes.all[turn % 3] as TestNode))
      expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429, 429])
      expect(set.links()).toHaveLength(3)
      const tries: number[] = []
      const wrong = `hpr_${'x'.repeat(43)}`
      for (let turn = 0; turn < 12; turn++)
        tries.push((await confirm(set.nodes.all[turn % 3] as TestNode, wrong)).status)
      expect(tries).toEqual([...Array.from({ length: 10 }, () => 410), 429, 429])
      expect((await confirm(set.nodes.all[2], set.links()[0])).status).toBe(200)
    })
  })

  test('a session that began on one is used on another, refreshed on a third, and ends on all', async () => {
    await using nodes = await startTestNodes({ url, count: 3 })
    const [a, b, c] = nodes.all
    const person = await signIn(a, { key: nodes.keys.admin })
    const on = (at: TestNode) => ({
      list: () => fetch(`${at.operatorUrl}${PATHS.list}`, { headers: { cookie: person.cookie } }),
      post: (path: string) =>
        fetch(`${at.operatorUrl}${path}`, {
          method: 'POST',
          headers: { ...person.headers, 'content-type': 'application/json' },
          body: '{}',
        }),
    })
    for (const at of [a, b, c]) expect((await on(at).list()).status).toBe(200)
    expect((await on(c).post(PATHS.sessionRefresh)).status).toBe(200)
    expect((await on(b).post(PATHS.sessionEnd)).status).toBe(200)
    for (const at of [a, b, c]) expect((await on(at).list()).status).toBe(401)
  })

  test('decisions that were made on any of them are counted by every one, since the first of them began', async () => {
    await using nodes = await startTestNodes({ url, count: 3 })
    const rates = async (at: TestNode) =>
      DecisionRatesResponse.parse((await at.get(PATHS.decisionRates, nodes.keys.viewer)).body)
    const { since } = await rates(nodes.all[2])
    for (const [index, at] of nodes.all.entries()) {
      for (let asked = 0; asked <= index; asked++) await at.validate(DEVICE, nodes.keys.runtime)
    }
    const counted = async (at: TestNode) => {
      const { minutes } = await rates(at)
      return minutes.flatMap(({ counts }) => counts).reduce((sum, { count }) => sum + count, 0)
    }
    await expect.poll(() => counted(nodes.all[0]), { timeout: 5000 }).toBe(6)
    expect(await counted(nodes.all[2])).toBe(6)
    expect((await rates(nodes.all[1])).since).toBe(since)
    // What a node still had to add is added when it closes.
    await nodes.all[1].validate(DEVICE, nodes.keys.runtime)
    await nodes.all[1].close()
    expect(await counted(nodes.all[2])).toBe(7)
  })

  describe('drills', () => {
    type Drill = Parameters<DrillRunner['run']>[0]
    let running: { drill: Drill; end: (how: 'held' | 'failed') => void }[] = []

    async function start() {
      const org = { id: '' }
      const drillRunner: DrillRunner = {
        get orgId() {
          return org.id
        },
        run: (drill) =>
          new Promise((resolve) => {
            drill.signal.addEventListener('abort', () => resolve('failed'))
            running.push({ drill, end: resolve })
          }),
      }
      const nodes = await startTestNodes({ url, count: 3, drillRunner })
      org.id = nodes.orgId
      const look = async (at: TestNode) =>
        DrillRunResponse.parse((await at.get(PATHS.drillRun, nodes.keys.viewer)).body).run
      const begin = (at: TestNode) => at.post(PATHS.drillRun, {}, nodes.keys.operator)
      return { nodes, look, begin }
    }
    let set: Awaited<ReturnType<typeof start>>
    let drillsUrl: string
    beforeAll(async () => {
      drillsUrl = url = await server.createDatabase()
      set = await start()
    })
    beforeEach(() => {
      url = drillsUrl
      running = []
    })
    afterAll(() => set.nodes[Symbol.asyncDispose]())

    test('run one at a time, and every node tells how it goes on, and of its report', async () => {
      const [a, b, c] = set.nodes.all
      const both = await Promise.all([a, b, c].map(set.begin))
      expect(both.map(({ status }) => status).toSorted()).toEqual([200, 409, 409])
      expect(running).toHaveLength(1)
      const { drill, end } = running[0] as (typeof running)[0]
      drill.onLine('stopping')
      for (const at of [a, b, c])
        await expect
          .poll(() => set.look(at), { timeout: 3000 })
          .toMatchObject({
            state: 'running',
            by: expect.stringMatching(/^operator:/),
            lines: ['stopping'],
          })
      const report = drillReport(set.nodes.orgId, 'run-1')
      expect((await c.post(PATHS.drills, { report }, drill.key)).status).toBe(200)
      expect((await set.begin(c)).body.code).toBe('DRILL_RUNNING')
      end('held')
      for (const at of [a, b, c])
        await expect.poll(() => set.look(at)).toMatchObject({ state: 'held', drillId: 'run-1' })
      expect((await set.begin(c)).status).toBe(200)
      running[1]?.end('failed')
      await expect.poll(async () => (await set.look(b)).state).toBe('failed')
    })

    test('one of a node that died is failed, and the next may begin; it ends should the node come back', async () => {
      const [a, b] = set.nodes.all
      await set.begin(a)
      await expect.poll(async () => (await set.look(b)).state).toBe('running')
      // As if nothing had been heard of it. Its next word comes too late.
      await sql('UPDATE $$drill_runs SET heard_at_ms = heard_at_ms - 15001')
      expect(await set.look(b)).toMatchObject({
        state: 'failed',
        endedAt: expect.any(String),
        lines: [expect.stringContaining('ended, or was cut off')],
      })
      expect((await set.begin(b)).status).toBe(200)
      await expect.poll(() => running[0]?.drill.signal.aborted, { timeout: 3000 }).toBe(true)
      expect(running[1]?.drill.signal.aborted).toBe(false)
      await expect.poll(async () => (await set.look(a)).state).toBe('running')
      running[1]?.end('held')
      await expect.poll(async () => (await set.look(a)).state).toBe('held')
    })

    test('a start that is refused on the way leaves what was told of the last one', async () => {
      const [a, b] = set.nodes.all
      await set.begin(a)
      running[0]?.end('held')
      await expect.poll(async () => (await set.look(b)).state).toBe('held')
      expect((await b.post(PATHS.drillRun, { org: true }, set.nodes.keys.operator)).status).toBe(403)
      expect((await set.look(a)).state).toBe('held')
      expect((await set.begin(a)).status).toBe(200)
    })
  })
})
