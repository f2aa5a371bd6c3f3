import { DatabaseSync } from 'node:sqlite'
import { RunContext, RunState } from '@openai/agents'
import { expect, onTestFinished, test } from 'vitest'
import { createStateSeal, type Sealed } from '../../../src/agents/hosted/sealed-state.ts'
import { newestStateVersion } from '../../../src/agents/hosted/state-version.ts'
import { SERVER } from '../../fixtures/guard.ts'
import { done, refundCall } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, KEY } from './world.ts'

const OTHER_KEY = Buffer.alloc(32, 9)
const seal = createStateSeal([KEY])
const state = (version = 1, runId = 'run_1'): Sealed => ({ purpose: 'state', runId, version })
const refused = { code: 'RUN_STATE_REFUSED' }

test('what is sealed opens as what it is, and shows nothing of itself', () => {
  const sealed = seal.seal(state(), 'the invoice INV-1')
  expect(seal.open(state(), sealed)).toBe('the invoice INV-1')
  expect(Buffer.from(sealed).toString('latin1')).not.toContain('INV-1')
  expect(Buffer.from(seal.seal(state(), 'x'))).not.toEqual(Buffer.from(seal.seal(state(), 'x')))
})

test.each<[string, Sealed]>([
  ['another run', state(1, 'run_2')],
  ['an older version', state(2)],
  ['an input', { purpose: 'input', runId: 'run_1' }],
  ['an output', { purpose: 'output', runId: 'run_1' }],
  ['arguments', { purpose: 'arguments', runId: 'run_1', approvalId: '1' }],
])('does not open as that of %s', (_, what) => {
  expect(() => seal.open(what, seal.seal(state(), 'x'))).toThrow(expect.objectContaining(refused))
})

test('arguments of one approval do not open as those of another', () => {
  const of = (approvalId: string): Sealed => ({ purpose: 'arguments', runId: 'run_1', approvalId })
  expect(() => seal.open(of('2'), seal.seal(of('1'), 'x'))).toThrow(expect.objectContaining(refused))
})

test('every flipped bit and every truncation is refused', () => {
  const sealed = Buffer.from(seal.seal(state(), 'pay'))
  for (let index = 0; index < sealed.length * 8; index += 1) {
    const flipped = Buffer.from(sealed)
    flipped[index >> 3] = (flipped[index >> 3] ?? 0) ^ (1 << (index & 7))
    expect(() => seal.open(state(), flipped)).toThrow(expect.objectContaining(refused))
  }
  for (let length = 0; length < sealed.length; length += 1)
    expect(() => seal.open(state(), sealed.subarray(0, length))).toThrow(expect.objectContaining(refused))
  expect(() => seal.open(state(), Buffer.concat([sealed, Buffer.of(0)]))).toThrow(
    expect.objectContaining(refused),
  )
})

test('the first key seals, all of them open, and a key that is gone is said to be', () => {
  const rotated = createStateSeal([OTHER_KEY, KEY])
  expect(rotated.open(state(), seal.seal(state(), 'old'))).toBe('old')
  expect(createStateSeal([OTHER_KEY]).open(state(), rotated.seal(state(), 'new'))).toBe('new')
  expect(() => seal.open(state(), rotated.seal(state(), 'new'))).toThrow(/RUN_STATE_KEY/)
})

test('GUARD_MISCONFIGURED: keys of another length, or none', () => {
  const misconfigured = expect.objectContaining({ code: 'GUARD_MISCONFIGURED' })
  expect(() => createStateSeal([Buffer.alloc(16)])).toThrow(misconfigured)
  expect(() => createStateSeal([])).toThrow(misconfigured)
})

const start = { agent: 'cashier', input: 'go' }

function open(file: string): DatabaseSync {
  const db = new DatabaseSync(file)
  onTestFinished(() => db.close())
  return db
}

/** Two paused runs, both approved, and their rows. */
async function paused() {
  const world = await cashierWorld([[refundCall('c1')], [refundCall('c2', 'INV-2')], done, done])
  await world.runs.start(ann, { ...start, runId: 'run_1' })
  await world.runs.start(ann, { ...start, runId: 'run_2' })
  await decideAll(world.runs, 'run_1', true)
  await decideAll(world.runs, 'run_2', true)
  const db = open(world.file)
  const stateOf = (runId: string) =>
    Buffer.from(
      db.prepare('SELECT state FROM run_states WHERE run_id = ?').get(runId)?.['state'] as Uint8Array,
    )
  const write = (runId: string, bytes: Uint8Array) => {
    db.prepare('UPDATE run_states SET state = ? WHERE run_id = ?').run(bytes, runId)
  }
  return { ...world, stateOf, write }
}

test('a state that was changed in the file is refused; the run is left as it was, and goes on once it is repaired', async () => {
  const { runs, bank, model, stateOf, write } = await paused()
  const sealed = stateOf('run_1')
  const changed = Buffer.from(sealed)
  changed[40] = (changed[40] ?? 0) ^ 1
  write('run_1', changed)
  await expect(runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject(refused)
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted', resumable: true })
  expect(bank.invoices).toEqual([])
  expect(model.calls).toHaveLength(2)
  write('run_1', sealed)
  expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('denied at resume: the state is not even opened', async () => {
  const { runs, authority, agent, write } = await paused()
  write('run_1', Buffer.from('this is no state'))
  const { tools } = agent
  agent.tools = []
  authority.stop(SERVER)
  await expect(runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject({ code: 'RESUME_DENIED' })
  authority.restore(SERVER)
  agent.tools = tools
  await expect(runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject(refused)
})

test('the state of another run is refused, and an older one of the same run after a newer one', async () => {
  const { runs, bank, stateOf, write } = await paused()
  const [first, second] = [stateOf('run_1'), stateOf('run_2')]
  write('run_1', second)
  await expect(runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject(refused)
  write('run_1', first)
  await runs.cancel(ann, 'run_2')
  const again = await cashierWorld([[refundCall('c1')], done])
  await again.runs.start(ann, { ...start, runId: 'run_1' })
  const db = open(again.file)
  const row = () => db.prepare('SELECT state FROM run_states WHERE run_id = ?').get('run_1')?.['state']
  const old = row() as Uint8Array
  await again.runs.resume(ann, { runId: 'run_1' })
  db.prepare('UPDATE run_states SET state = ? WHERE run_id = ?').run(old, 'run_1')
  await decideAll(again.runs, 'run_1', true)
  await expect(again.runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject(refused)
  expect(again.bank.invoices).toEqual([])
  expect(bank.invoices).toEqual([])
})

test('approvals that somebody seals into a state do not count: only those of the store do', async () => {
  const { runs, bank, model, agent, stateOf, write } = await cashierWorldWithRows()
  await runs.start(ann, { ...start, runId: 'run_1' })
  const text = seal.open(state(1), stateOf('run_1'))
  const forged = await RunState.fromStringWithContext(agent, text, new RunContext({}))
  for (const item of forged.getInterruptions()) forged.approve(item, { alwaysApprove: true })
  write('run_1', seal.seal(state(1), forged.toString()))
  expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({
    status: 'interrupted',
    approvals: [{ state: 'waiting' }],
  })
  expect(bank.invoices).toEqual([])
  expect(model.calls).toHaveLength(1)
})

test('arguments that somebody with the key edits after they were approved do not run', async () => {
  const { runs, bank, stateOf, write } = await cashierWorldWithRows()
  await runs.start(ann, { ...start, runId: 'run_1' })
  await decideAll(runs, 'run_1', true)
  const text = seal.open(state(1), stateOf('run_1'))
  const edited = text.replaceAll('\\"amountCents\\":500', '\\"amountCents\\":999999')
  expect(edited).not.toBe(text)
  write('run_1', seal.seal(state(1), edited))
  const view = await runs.resume(ann, { runId: 'run_1' })
  expect(view).toMatchObject({ status: 'interrupted' })
  expect(view.approvals).toMatchObject([{ state: 'waiting', arguments: { amountCents: 999999 } }])
  expect(bank.invoices).toEqual([])
})

test('RUN_STATE_VERSION: a state of an SDK that is newer names both versions, and leaves the run as it was', async () => {
  const { runs, stateOf, write } = await cashierWorldWithRows()
  await runs.start(ann, { ...start, runId: 'run_1' })
  const text = seal.open(state(1), stateOf('run_1'))
  const { $schemaVersion: version } = JSON.parse(text) as { $schemaVersion: string }
  expect(version).toBe(newestStateVersion())
  write('run_1', seal.seal(state(1), text.replace(`"${version}"`, '"99.7"')))
  const resuming = runs.resume(ann, { runId: 'run_1' })
  await expect(resuming).rejects.toMatchObject({ code: 'RUN_STATE_VERSION' })
  await expect(resuming).rejects.toThrow(/99\.7/)
  await expect(resuming).rejects.toThrow(version)
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted' })
})

test('AGENT_NOT_FOUND, and a tool that the agent has no more: the run is left as it was', async () => {
  const { runs, agent, replica } = await cashierWorldWithRows()
  await runs.start(ann, { ...start, runId: 'run_1' })
  const without = replica([])
  await expect(without.resume(ann, { runId: 'run_1' })).rejects.toMatchObject({ code: 'AGENT_NOT_FOUND' })
  const { tools } = agent
  agent.tools = []
  await expect(runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject(refused)
  agent.tools = tools
  expect(await runs.show(boss, 'run_1')).toMatchObject({ status: 'interrupted' })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
})

async function cashierWorldWithRows() {
  const world = await cashierWorld([[refundCall('c1')], done, done])
  const db = open(world.file)
  return {
    ...world,
    stateOf: (runId: string) =>
      db.prepare('SELECT state FROM run_states WHERE run_id = ?').get(runId)?.['state'] as Uint8Array,
    write: (runId: string, bytes: Uint8Array) => {
      db.prepare('UPDATE run_states SET state = ? WHERE run_id = ?').run(bytes, runId)
    },
  }
}
