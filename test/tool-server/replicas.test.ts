import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { RunView } from '../../src/agents/hosted/run-types.ts'
import { createCallerToken } from '../../src/tool-server/callers.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts'
import { startReplica, type Replica } from '../fixtures/replica.ts'
import { temporaryDirectory } from '../fixtures/program.ts'

/** `npm run proof:replicas` plays more of them. */
const ROUNDS = Number(process.env['REPLICA_ROUNDS'] ?? 3)
const agent = createCallerToken({ name: 'agent', scopes: ['tools:call', 'runs:start', 'runs:resume'] })
const approver = createCallerToken({ name: 'approver', scopes: ['runs:approve', 'runs:resume'] })

describe.skipIf(noPostgres)('three tool servers on one Postgres', () => {
  let server: TestPostgres
  let url: string
  let authority: TestControlPlane
  let dir: Awaited<ReturnType<typeof temporaryDirectory>>
  let settings: Record<string, string>
  let replicas: Replica[]
  let started = 0
  let asked = 0

  const start = () => startReplica(join(dir.path, `replica-${(started += 1)}`), settings)
  const all = <T>(ask: (replica: Replica, at: number) => Promise<T>) => Promise.all(replicas.map(ask))
  const at = (index: number) => replicas[index % replicas.length] as Replica
  const rows = (sql: string, ...values: unknown[]) => server.query(url, sql, values)
  const payments = async (invoiceId: string) =>
    (await rows('SELECT "paymentId" FROM holdpoint_accounts.payments WHERE "invoiceId" = $1', invoiceId))
      .length
  /** The shipped twenty are not enough for many rounds. */
  const newInvoice = async () => {
    const invoiceId = `INV-${5000 + (asked += 1)}`
    await rows(`INSERT INTO holdpoint_accounts.invoices VALUES ($1, 'Somebody', 1000, 'open')`, invoiceId)
    return invoiceId
  }
  const pay = (replica: Replica, invoiceId: string, callId: string) =>
    replica.post(agent.token, '/tools/send_payment', {
      call_id: callId,
      run_id: 'r',
      arguments: { invoiceId, amountCents: 1000 },
    })
  /** A run that waits for the approval of its payment, on `on`. */
  const pausedRun = async (on: Replica, invoiceId: string) => {
    const input = `Pay ${invoiceId}`
    const { body } = await on.post(agent.token, '/runs', { agent: 'accounts-assistant', input })
    expect(body).toMatchObject({ status: 'interrupted', approvals: [{ tool: 'send_payment' }] })
    return body as RunView
  }
  const approve = (on: Replica, { runId, approvals }: RunView) => {
    const decisions = approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
    return on.post(approver.token, `/runs/${runId}/decisions`, { decisions })
  }
  const resume = (on: Replica, { runId }: RunView) => on.post(agent.token, `/runs/${runId}/resume`, {})
  const ended = async (on: Replica, { runId }: RunView): Promise<RunView> => {
    for (;;) {
      const { body } = await on.get(agent.token, `/runs/${runId}`)
      if (body.status !== 'running') return body as RunView
    }
  }

  beforeAll(async () => {
    server = await startPostgres()
    url = await server.createDatabase()
    authority = await startTestControlPlane()
    dir = await temporaryDirectory()
    const tokens = join(dir.path, 'callers.json')
    writeFileSync(tokens, JSON.stringify({ callers: [agent.record, approver.record] }))
    mkdirSync(join(dir.path, 'data'))
    settings = {
      MACHINEID_BASE_URL: authority.url,
      MACHINEID_ORG_KEY: authority.keys.runtime,
      TOOL_DATABASE_URL: url,
      RUN_STATE_KEY: randomBytes(32).toString('hex'),
      CALLER_TOKENS_FILE: tokens,
      APPROVAL_DESK: 'off',
    }
    // All at once: one of them makes the tables.
    replicas = await Promise.all([start(), start(), start()])
  }, 60_000)
  afterAll(async () => {
    await Promise.all((replicas ?? []).map((replica) => replica.kill()))
    await authority?.close()
    await server?.close()
    await dir?.[Symbol.asyncDispose]()
  })

  test('each says what it stores in', async () => {
    const answers = await all((replica) => replica.get(approver.token, '/inspect'))
    for (const { body } of answers) {
      expect(body.journal).toMatchObject({ kind: expect.stringMatching(/^postgres 18/), synchronous: 'on' })
    }
  })

  test(`E1: the same business key on all three at once is paid exactly once, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const invoiceId = await newInvoice()
      const answers = await all((replica, index) => pay(replica, invoiceId, `call_${round}_${index}`))
      expect(await payments(invoiceId)).toBe(1)
      for (const { status, body } of answers) {
        expect(status === 200 || body.output.includes('in_progress'), JSON.stringify(body)).toBe(true)
      }
      const again = await all((replica) => pay(replica, invoiceId, `again_${round}`))
      expect(new Set(again.map(({ body }) => JSON.parse(body.output as string).paymentId)).size).toBe(1)
      expect(await payments(invoiceId)).toBe(1)
    }
  }, 300_000)

  test(`a run paused on one, approved on another and resumed by all three at once: one wins, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const invoiceId = await newInvoice()
      const run = await pausedRun(at(round), invoiceId)
      expect((await approve(at(round + 1), run)).status).toBe(200)
      const answers = await all((replica) => resume(replica, run))
      // Whoever comes later finds it running, or ended.
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
      expect(answers.filter(({ status }) => status === 409)).toHaveLength(2)
      expect(await ended(at(round + 2), run)).toMatchObject({ status: 'completed' })
      expect(await payments(invoiceId)).toBe(1)
    }
  }, 300_000)

  test('a record that one writes in its transaction the others replay, and it is there once', async () => {
    const write = (replica: Replica) =>
      replica.post(agent.token, '/tools/write_record', {
        call_id: 'call_record',
        run_id: 'r',
        arguments: { key: 'k', value: 'A' },
      })
    for (const replica of replicas) {
      expect(await write(replica)).toMatchObject({ status: 200 })
    }
    expect(await rows('SELECT key, value FROM holdpoint_accounts.records')).toEqual([
      { key: 'k', value: 'A' },
    ])
    const done = `SELECT state FROM holdpoint_tools.effect_journal WHERE effect LIKE 'write%'`
    expect(await rows(done)).toEqual([{ state: 'done' }])
  })

  test('of one that is killed with kill -9 while a run waits another goes on with it', async () => {
    const invoiceId = await newInvoice()
    const run = await pausedRun(at(0), invoiceId)
    await at(0).kill()
    expect((await approve(at(1), run)).status).toBe(200)
    expect(await resume(at(2), run)).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(await payments(invoiceId)).toBe(1)
    replicas[0] = await start()
  }, 60_000)

  test('Postgres goes and comes back: refused meanwhile, and nobody has to be started anew', async () => {
    const invoiceId = await newInvoice()
    server.kill()
    const refused = await all((replica, index) => pay(replica, invoiceId, `down_${index}`))
    expect(refused.map(({ status }) => status)).toEqual([503, 503, 503])
    await server.start()
    const answers = await all((replica, index) => pay(replica, invoiceId, `up_${index}`))
    expect(answers.some(({ status }) => status === 200)).toBe(true)
    expect(await payments(invoiceId)).toBe(1)
  }, 60_000)
})
