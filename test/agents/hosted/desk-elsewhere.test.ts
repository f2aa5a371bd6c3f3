// People decide at the control plane: what waits is shown there, what was decided there is adopted, and the run goes on
// by itself. The desk is a small server that speaks the wire; `desk-control-plane.test.ts` has the real one.

import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { guardedTool } from 'holdpoint'
import { DESK_TICK_MS } from '../../../src/agents/hosted/desk-watch.ts'
import { createLogger } from '../../../src/log.ts'
import { MachineID } from '../../../src/machineid/client.ts'
import { createAuthorityDesk } from '../../../src/tool-server/authority-desk.ts'
import { startDeskServer } from '../../fixtures/desk-server.ts'
import { PAYMENTS, SERVER } from '../../fixtures/guard.ts'
import { httpAnswer } from '../../fixtures/raw-server.ts'
import { done, refundCall, scripted, toldIn } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, hostedWorld, type World } from './world.ts'

const desk = await startDeskServer()
afterAll(() => desk.close())
beforeEach(() => desk.reset())

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }

function authorityDesk(lines: Record<string, unknown>[] = []) {
  const client = new MachineID({ orgKey: 'org_test', baseUrl: desk.url, timeoutMs: 500 })
  onTestFinished(() => client.close())
  const log = createLogger({ destination: { write: (line) => void lines.push(JSON.parse(line)) } })
  return createAuthorityDesk(client, { log })
}

/** A run that waits for a person to approve one refund. */
async function pausedRun(script = [[refundCall('c1')], done]) {
  const world = await cashierWorld(script, { desk: authorityDesk() })
  world.runs.begin()
  expect(await world.runs.start(ann, start)).toMatchObject({ status: 'interrupted' })
  return world
}

/** Ten seconds later everything is due: verdicts are asked for, and the desk is brought up to date. */
function later({ time, fire }: Pick<World, 'time' | 'fire'>, ms = 10_000): void {
  time.ms += ms
  fire(DESK_TICK_MS)
}

/** So many looks, each of which needs no more than a moment. */
async function looked(world: Pick<World, 'time' | 'fire'>, times: number, ms?: number): Promise<void> {
  for (let at = 0; at < times; at += 1) {
    later(world, ms)
    await new Promise(setImmediate)
  }
}

/** Until the desk has been asked some more. */
async function lookedAgain(world: Pick<World, 'time' | 'fire'>): Promise<void> {
  const lists = () => desk.calls.filter((call) => call === 'GET /api/v1/approvals').length
  const before = lists()
  await expect.poll(() => (later(world), lists())).toBeGreaterThan(before + 3)
}

async function ended(world: Pick<World, 'runs' | 'time' | 'fire'>, runId = 'run_1') {
  await expect
    .poll(async () => (later(world, 2_000), (await world.runs.show(ann, runId)).status), { interval: 10 })
    .toBe('completed')
  return world.runs.show(ann, runId)
}

function firstWaiting() {
  const [row] = desk.waiting()
  if (row === undefined) throw new Error('Nothing is shown.')
  return row
}

test('a call that waits is shown with its arguments, digest and devices; approved there, the run goes on by itself and pays once', async () => {
  const world = await pausedRun()
  const row = firstWaiting()
  expect(row).toMatchObject({
    runId: 'run_1',
    agent: 'cashier',
    caller: 'ann',
    callId: 'c1',
    tool: 'refund',
    deviceIds: [SERVER, PAYMENTS],
    argumentsJson: '{"amountCents":500,"invoiceId":"INV-1","refundNo":1}',
  })
  desk.decide(row.approvalId, true)
  const { operatorLog } = await ended(world)
  expect(operatorLog).toMatchObject([{ action: 'approval.approve', by: 'desk:operator:key1' }])
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('declined there with a message: the model is told it, and nothing is paid', async () => {
  const world = await pausedRun()
  desk.decide(firstWaiting().approvalId, false, 'Not this supplier.')
  await ended(world)
  expect(toldIn(world.model)['c1']).toContain('Not this supplier.')
  expect(world.bank.invoices).toEqual([])
})

describe('an answer that is not exactly ours decides nothing', () => {
  type Row = Record<string, unknown>
  const changed = (change: (row: Row) => Row[]) => (answer: object) =>
    httpAnswer(
      JSON.stringify({ ...answer, approvals: (answer as { approvals: Row[] }).approvals.flatMap(change) }),
    )
  test.each<[string, (answer: object) => Buffer]>([
    ['another digest', changed((row) => [{ ...row, digest: 'f'.repeat(64) }])],
    ['the same arguments for another tool', changed((row) => [{ ...row, tool: 'lookup_invoice' }])],
    ['the same call of another run', changed((row) => [{ ...row, runId: 'run_2' }])],
    ['another id', changed((row) => [{ ...row, approvalId: 'apr_other' }])],
    ['two rows with the id', changed((row) => [row, row])],
    ['nobody who decided', changed((row) => [{ ...row, decidedBy: null }])],
    ['no time when', changed((row) => [{ ...row, decidedAt: null }])],
    ['an approval with a message', changed((row) => [{ ...row, message: 'but not really' }])],
    ['another row that is none', changed((row) => [row, { approvalId: 'apr_other' }])],
    ['a state that nobody knows', changed((row) => [{ ...row, state: 'APPROVED' }])],
    ['another org', (answer) => httpAnswer(JSON.stringify({ ...answer, orgId: 'o_other' }))],
    ['more behind it', (answer) => httpAnswer(`${JSON.stringify(answer)} {}`)],
    ['a key twice', (answer) => httpAnswer(JSON.stringify(answer).replace('{', '{"status":"ok",'))],
    ['a redirect', () => httpAnswer('', { status: '302 Found', headers: { location: `${desk.url}/` } })],
    ['more than 6 MB', (answer) => httpAnswer(JSON.stringify({ ...answer, x: 'x'.repeat(6_000_000) }))],
  ])('%s', async (_name, make) => {
    const world = await pausedRun()
    // It knows whose desk this is before it meets another's.
    later(world)
    const { approvalId } = firstWaiting()
    await lookedAgain(world)
    desk.instead = ({ method }, answer) => (method === 'GET' ? make(answer) : undefined)
    desk.decide(approvalId, true)
    await lookedAgain(world)
    expect(await world.runs.show(ann, 'run_1')).toMatchObject({
      status: 'interrupted',
      allApprovals: [{ state: 'waiting' }],
    })
    expect(world.bank.invoices).toEqual([])
    desk.instead = () => undefined
    await ended(world)
    expect(world.bank.invoices).toEqual(['INV-1'])
  })
})

test('a decline of other arguments declines nothing, and the log says so once', async () => {
  const world = await pausedRun()
  const { approvalId, digest } = firstWaiting()
  desk.decide(approvalId, false)
  desk.instead = (_, answer) =>
    httpAnswer(JSON.stringify(answer).replaceAll(`"digest":"${digest}"`, `"digest":"${'f'.repeat(64)}"`))
  await lookedAgain(world)
  expect((await world.runs.show(ann, 'run_1')).approvals).toMatchObject([{ state: 'waiting' }])
  expect(world.lines.filter(({ msg }) => String(msg).includes('on other arguments'))).toHaveLength(1)
})

test('what is sealed is not what was shown: an approval of it counts for nothing', async () => {
  const world = await pausedRun()
  const db = new DatabaseSync(world.file)
  db.exec(`UPDATE approvals SET arguments = zeroblob(60)`)
  db.close()
  desk.decide(firstWaiting().approvalId, true)
  await lookedAgain(world)
  expect((await world.runs.show(ann, 'run_1')).allApprovals).toMatchObject([{ state: 'waiting' }])
  expect(world.bank.invoices).toEqual([])
})

test('a desk that is down when the call begins to wait gets it later, and the log says it once', async () => {
  desk.down = true
  const world = await pausedRun()
  await looked(world, 10)
  expect(desk.rows.size).toBe(0)
  desk.down = false
  await expect.poll(() => (later(world), desk.rows.size)).toBe(1)
  desk.decide(firstWaiting().approvalId, true)
  await ended(world)
  expect(world.bank.invoices).toEqual(['INV-1'])
  const said = world.lines.filter(({ msg }) => String(msg).startsWith('the approval desk'))
  expect(said.map(({ msg }) => msg)).toEqual([
    'the approval desk failed; nothing was decided there',
    'the approval desk answers again',
  ])
})

test('after a restart what waits is shown again, and what was decided meanwhile is taken back', async () => {
  const world = await pausedRun([[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const [first, second] = desk.waiting()
  desk.down = true
  const { approvals } = await world.runs.show(boss, 'run_1')
  await world.runs.decide(boss, 'run_1', [
    { callId: 'c1', digest: approvals[0]?.digest ?? '', approve: false },
  ])
  await world.runs.close()
  desk.down = false
  desk.rows.delete(second?.approvalId ?? '')

  const restarted = world.replica([{ agent: world.agent }], { desk: authorityDesk() })
  onTestFinished(() => restarted.close())
  restarted.begin()
  await expect
    .poll(() => [...desk.rows.values()].map(({ callId, state }) => [callId, state]))
    .toEqual([
      ['c1', 'withdrawn'],
      ['c2', 'waiting'],
    ])
  expect(desk.rows.get(first?.approvalId ?? '')?.state).toBe('withdrawn')
  desk.decide(firstWaiting().approvalId, true)
  await ended({ ...world, runs: restarted })
  expect(world.bank.invoices).toEqual(['INV-2'])
})

test('adopted, and the process died before it resumed the run: whoever comes next does', async () => {
  const world = await pausedRun()
  const { runs, store } = world
  await runs.close()
  const [waiting] = await store.runs.waitingApprovals(1)
  const verdict = { approvalId: waiting?.approvalId ?? '', approve: true }
  await store.runs.decide('run_1', [verdict], 'desk:operator:key1')
  const restarted = world.replica([{ agent: world.agent }], { desk: authorityDesk() })
  onTestFinished(() => restarted.close())
  restarted.begin()
  await ended({ ...world, runs: restarted })
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('so it does behind hundreds of newer runs that are paused', async () => {
  const world = await pausedRun()
  const { runs, store } = world
  await runs.close()
  const [waiting] = await store.runs.waitingApprovals(1)
  const verdict = { approvalId: waiting?.approvalId ?? '', approve: true }
  await store.runs.decide('run_1', [verdict], 'desk:operator:key1')
  const db = new DatabaseSync(world.file)
  const columns = db.prepare(`SELECT name FROM pragma_table_info('runs')`).all()
  const copied = columns.map(({ name }) =>
    name === 'run_id' ? `'copy_' || value` : name === 'created_at_ms' ? 'created_at_ms + value' : name,
  )
  const numbers = JSON.stringify(Array.from({ length: 250 }, (_, at) => at + 1))
  db.prepare(`INSERT INTO runs SELECT ${copied.join()} FROM runs, json_each(?)`).run(numbers)
  db.close()
  const restarted = world.replica([{ agent: world.agent }], { desk: authorityDesk() })
  onTestFinished(() => restarted.close())
  restarted.begin()
  await ended({ ...world, runs: restarted })
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('what was decided here only is not resumed by itself', async () => {
  const world = await pausedRun()
  await decideAll(world.runs, 'run_1', true)
  expect(desk.waiting()).toEqual([])
  await looked(world, 10)
  expect(await world.runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted' })
  expect(world.bank.invoices).toEqual([])
})

test('what the desk declined before the last pause resumes nothing: what was decided here since waits for its caller', async () => {
  const world = await pausedRun([[refundCall('c1')], [refundCall('c2', 'INV-2')], done])
  desk.decide(firstWaiting().approvalId, false)
  await expect.poll(() => (later(world, 2_000), desk.waiting()[0]?.callId)).toBe('c2')
  await expect.poll(async () => (await world.runs.show(ann, 'run_1')).status).toBe('interrupted')
  world.time.ms += 1
  await decideAll(world.runs, 'run_1', true)
  await looked(world, 20, 2_000)
  expect(await world.runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted' })
  expect(world.bank.invoices).toEqual([])
  await world.runs.resume(ann, { runId: 'run_1' })
  expect(world.bank.invoices).toEqual(['INV-2'])
})

test('a desk that is full is not one that fails: what it has no room for is shown when there is some', async () => {
  const world = await pausedRun([[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const [first, second] = desk.waiting()
  desk.rows.delete(second?.approvalId ?? '')
  const full = JSON.stringify({ status: 'error', error: 'too_many_approvals', code: 'TOO_MANY_APPROVALS' })
  desk.instead = ({ method, path }) =>
    method === 'POST' && !path.endsWith('/withdraw') && desk.waiting().length > 1
      ? (desk.rows.delete(second?.approvalId ?? ''), httpAnswer(full, { status: '429 Too Many Requests' }))
      : undefined
  await lookedAgain(world)
  expect(desk.waiting()).toHaveLength(1)
  const said = world.lines.filter(({ msg }) => String(msg).startsWith('the approval desk'))
  expect(said).toEqual([])
  desk.rows.delete(first?.approvalId ?? '')
  await expect.poll(() => (later(world), desk.waiting().length)).toBe(1)
})

test('two replicas on one store that learn of it together pay once, and neither complains', async () => {
  const world = await pausedRun()
  const other = world.replica([{ agent: world.agent }], { desk: authorityDesk() })
  onTestFinished(() => other.close())
  other.begin()
  desk.decide(firstWaiting().approvalId, true)
  await ended(world)
  await looked(world, 10)
  expect(world.bank.invoices).toEqual(['INV-1'])
  expect(world.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([])
})

test('a denied resume leaves the run as it was and is not hammered; restored, it is paid once', async () => {
  const world = await pausedRun()
  world.authority.stop(SERVER, 'ORG_DISABLED')
  desk.decide(firstWaiting().approvalId, true)
  const resumes = () => world.authority.boundaries.filter((boundary) => boundary === 'resume').length
  await expect.poll(() => (later(world, 500), resumes())).toBe(1)
  // Two minutes.
  await looked(world, 240, 500)
  expect(resumes()).toBeGreaterThan(3)
  expect(resumes()).toBeLessThan(10)
  expect(await world.runs.show(ann, 'run_1')).toMatchObject({
    status: 'interrupted',
    denial: { code: 'ORG_DISABLED', boundary: 'resume' },
    approvals: [{ state: 'approved' }],
  })
  world.authority.restore(SERVER)
  await ended(world)
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('decided here and there: the first that is stored wins, and the desk takes the call back', async () => {
  const world = await pausedRun([[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const [first, second] = desk.waiting()
  desk.decide(first?.approvalId ?? '', true)
  await decideAll(world.runs, 'run_1', false)
  expect(desk.rows.get(second?.approvalId ?? '')?.state).toBe('withdrawn')
  await looked(world, 10)
  const { allApprovals } = await world.runs.show(ann, 'run_1')
  expect(allApprovals).toMatchObject([
    { state: 'declined', decidedBy: 'boss' },
    { state: 'declined', decidedBy: 'boss' },
  ])
  expect(world.bank.invoices).toEqual([])
})

test('a run that was started with a context waits for its caller, and one line says so', async () => {
  const world = await cashierWorld([[refundCall('c1')], done], { desk: authorityDesk() })
  world.runs.begin()
  await world.runs.start(ann, { ...start, context: { tenant: 7 } })
  desk.decide(firstWaiting().approvalId, true)
  const said = () => world.lines.filter(({ msg }) => String(msg).includes('waits for its caller'))
  await expect.poll(() => (later(world), said().length)).toBe(1)
  await looked(world, 10)
  expect(said()).toHaveLength(1)
  expect(world.authority.boundaries).not.toContain('resume')
  const resumed = await world.runs.resume(ann, { runId: 'run_1', context: { tenant: 7 } })
  expect(resumed).toMatchObject({ status: 'completed' })
  expect(world.bank.invoices).toEqual(['INV-1'])
})

test('arguments too large for the desk stay here, which is said once, and keep no other call back', async () => {
  const lines: Record<string, unknown>[] = []
  const world = await hostedWorld({
    desk: authorityDesk(lines),
    agents: (guard) => {
      const note = guardedTool(guard.surface('tool-server'), {
        name: 'note',
        description: 'Note a text',
        parameters: z.object({ text: z.string() }),
        effects: 'none',
        needsApproval: true,
        execute: () => 'noted',
      })
      const large = { type: 'function_call', name: 'note', status: 'completed' } as const
      const call = (callId: string, text: string) => ({
        ...large,
        callId,
        arguments: JSON.stringify({ text }),
      })
      const { agent } = scripted([note], [[call('c1', 'x'.repeat(140_000)), call('c2', 'short')], done], {
        name: 'cashier',
      })
      return [{ agent }]
    },
  })
  world.runs.begin()
  await world.runs.start(ann, start)
  expect(desk.waiting()).toMatchObject([{ callId: 'c2', deviceIds: [SERVER] }])
  await lookedAgain(world)
  expect(lines).toMatchObject([{ level: 'warn', approval_id: expect.stringMatching(/^apr_/) }])
})
