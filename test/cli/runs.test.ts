import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { pay } from '../fixtures/hosted-cashiers.ts'
import { SERVER, startHostedWorld, type HostedWorld } from '../fixtures/hosted-runs.ts'
import { cells, run as runIt, type RunOptions } from './run.ts'

let world: HostedWorld
beforeAll(async () => {
  world = await startHostedWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const run = (args: readonly string[], options: RunOptions = {}) =>
  runIt(args, {
    ...options,
    env: { TOOL_SERVER_URL: world.url, HOLDPOINT_TOKEN: world.tokens.approver, ...options.env },
  })

describe('runs', () => {
  test('ls and show: what waits, with its arguments whole', async () => {
    await world.start('run-ls', [[pay('call_1', 'INV-1', 4321)]])
    const ls = await run(['runs', 'ls', '--status', 'interrupted'])
    expect(cells(ls.stdout)[0]).toEqual(['RUN', 'AGENT', 'STATUS', 'WAITING', 'CHANGED'])
    expect(cells(ls.stdout)[1]?.slice(0, 4)).toEqual(['run-ls', 'cashier', 'interrupted', '1'])
    expect((await run(['runs', 'ls', '--json'])).json().runs[0]).toMatchObject({
      runId: 'run-ls',
      toolServer: world.url,
    })
    const show = await run(['runs', 'show', 'run-ls'])
    expect(show.stdout).toContain('waiting send_payment on payments, call call_1')
    expect(show.stdout).toContain('"amountCents": 4321')
    expect(show.stdout).toContain('Decide with: holdpoint runs approve run-ls')
    expect((await run(['runs', 'show', 'run-ls', '--json'])).json()).toMatchObject({ status: 'interrupted' })
  })

  test('approve shows the arguments, asks, and then resume pays once', async () => {
    await world.start('run-pay', [[pay('call_2', 'INV-2')]])
    const nobody = await run(['runs', 'approve', 'run-pay'])
    expect(nobody.status).toBe(2)
    const no = await run(['runs', 'approve', 'run-pay'], { answer: 'n' })
    expect(no).toMatchObject({ status: 1, stdout: '' })
    expect((await world.show('run-pay')).approvals[0]?.state).toBe('waiting')
    const yes = await run(['runs', 'approve', 'run-pay'], { answer: 'y' })
    expect(yes.stderr).toContain('"invoiceId": "INV-2"')
    expect(yes.stdout).toBe('Approved 1 call of run run-pay. Go on with: holdpoint runs resume run-pay\n')
    const resumed = await run(['runs', 'resume', 'run-pay'])
    expect(resumed.status).toBe(0)
    expect(resumed.stdout).toContain('run-pay  cashier  completed')
    expect(world.ran.filter(({ subject }) => subject === 'INV-2')).toHaveLength(1)
    const again = await run(['runs', 'approve', 'run-pay', '--yes'])
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('NOTHING_WAITS') })
  })

  test('decline runs nothing', async () => {
    await world.start('run-no', [[pay('call_3', 'INV-3')]])
    const declined = await run([
      'runs',
      'decline',
      'run-no',
      '--call',
      'call_3',
      '--message',
      'not now',
      '--yes',
    ])
    expect(declined.status).toBe(0)
    await run(['runs', 'resume', 'run-no'])
    expect(world.ran.filter(({ subject }) => subject === 'INV-3')).toEqual([])
    const other = await run(['runs', 'decline', 'run-no', '--call', 'call_9', '--yes'])
    expect(other.stderr).toContain('no call call_9 waits')
  })

  test('a resume that the authority denies has status 3, and the run stays as it was', async () => {
    await world.start('run-stopped', [[pay('call_4', 'INV-4')]])
    await run(['runs', 'approve', 'run-stopped', '--yes'])
    await world.authority.revoke(SERVER)
    const denied = await run(['runs', 'resume', 'run-stopped'])
    await world.authority.restore(SERVER)
    expect(denied.status).toBe(3)
    expect(denied.stderr).toMatch(
      new RegExp(`^${SERVER} was denied at resume: DEVICE_REVOKED\\. .*: holdpoint explain \\S+\n$`),
    )
    expect((await world.show('run-stopped')).status).toBe('interrupted')
    expect(world.ran.filter(({ subject }) => subject === 'INV-4')).toEqual([])
  })

  test('is found on the tool server that has it', async () => {
    await using other = await startHostedWorld()
    const servers = ['--tool-server', other.url, '--tool-server', world.url]
    // The other server knows another approver.
    const ls = await run(['runs', 'ls', ...servers])
    expect(ls.status).toBe(3)
    expect(ls.stderr).toContain(`The tool server at ${other.url} does not know this token.`)
  })

  test('a token without the scope is denied, and nothing of it is shown', async () => {
    await world.start('run-scope', [[pay('call_5', 'INV-5')]])
    const { status, stderr } = await run(['runs', 'approve', 'run-scope', '--yes'], {
      env: { HOLDPOINT_TOKEN: world.tokens.user },
    })
    expect(status).toBe(3)
    expect(stderr).toContain('INSUFFICIENT_SCOPE')
    expect(stderr).not.toContain(world.tokens.user)
  })

  test('one that is not there, and a server that is not there', async () => {
    expect(await run(['runs', 'show', 'nobody'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('RUN_NOT_FOUND'),
    })
    const away = await run(['runs', 'ls', '--tool-server', 'http://127.0.0.1:9'])
    expect(away.status).toBe(1)
    expect(away.stderr).toContain('The tool server is not reachable at http://127.0.0.1:9')
    const wrong = await run(['runs', 'ls', '--tool-server', 'http://me:secret@127.0.0.1:9'])
    expect(wrong.status).toBe(2)
    expect(wrong.stderr).not.toContain('secret')
  })
})
