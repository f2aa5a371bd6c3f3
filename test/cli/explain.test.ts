import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { LOCAL_CODES } from '../../src/local-codes.ts'
import { commandOf, restoreCommand } from '../../src/next-commands.ts'
import { LOCAL_DENIAL_CODES } from '../../src/guard/decision.ts'
import { hp, PAYMENTS, SERVER, startWorld, until, type World } from './operate-world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

let calls = 0
/** The request_id of a payment that is denied, once the control plane has written it down. */
async function denied(): Promise<string> {
  const { request_id: id } = await world.pay(`c${++calls}`, 'INV-1005', 100)
  await until(
    () => world.run(['explain', String(id)]),
    ({ status }) => status === 0,
  )
  return String(id)
}

describe('explain a denial', () => {
  test('says which device at which boundary, who stopped it, when and why, what holds now, and what restores it', async () => {
    await world.run(['devices', 'revoke', PAYMENTS, '--reason', 'odd refunds'])
    const id = await denied()
    const { status, out } = await world.run(['explain', id])
    expect(status).toBe(0)
    expect(out).toMatch(/^DENIED DEVICE_REVOKED/)
    expect(out).toContain(PAYMENTS)
    expect(out).toMatch(/Boundary\s+tool/)
    expect(out).toMatch(/Call\s+send_payment, call c\d+/)
    expect(out).toMatch(/was revoked by stop:.*: "odd refunds"/)
    expect(out).toMatch(/Now\s+still DEVICE_REVOKED/)
    expect(out).toMatch(new RegExp(`To restore\\s+holdpoint devices restore ${PAYMENTS}`))
    const { json } = await world.run(['explain', id, '--json'])
    expect(json).toMatchObject({ requestId: id, local: false })
    const [reason] = json.decisions.filter((decision: { allowed: boolean }) => !decision.allowed)
    expect(reason).toMatchObject({
      commands: [`holdpoint devices restore ${PAYMENTS}`],
      explanation: { now: 'DEVICE_REVOKED' },
    })
  })

  const cases: { code: string; stop: string[]; command: RegExp }[] = [
    { code: 'DEVICE_REVOKED', stop: ['devices', 'revoke', PAYMENTS], command: /^holdpoint devices restore / },
    {
      code: 'DEVICE_LOCKED',
      stop: ['lock', 'add', '*:*:payments:*', '-y'],
      command: /^holdpoint lock release [\w-]+$/,
    },
    { code: 'ORG_DISABLED', stop: ['panic', '-y'], command: /^holdpoint org enable$/ },
    {
      code: 'DEVICE_REMOVED',
      stop: ['devices', 'rm', PAYMENTS, '-y'],
      command: /^holdpoint devices register .* --restore-removed$/,
    },
  ]
  test.each(cases)('$code: the command that it names restores it', async ({ code, stop, command }) => {
    expect((await world.run(stop)).status).toBe(0)
    const id = await denied()
    const { json } = await world.run(['explain', id, '--json'])
    const decision = json.decisions.find((one: { allowed: boolean }) => !one.allowed)
    expect(decision.code).toBe(code)
    expect(decision.commands[0]).toMatch(command)
    for (const line of decision.commands as string[]) {
      const ran = await world.run([...line.split(' ').slice(1), '--yes'])
      expect({ line, status: ran.status, err: ran.err }).toMatchObject({ status: 0 })
    }
    const after = await world.run(['explain', id])
    expect(after.out).toContain('it would be allowed')
  })

  test('an id that is not known: status 1, with what it may be', async () => {
    const { status, err } = await world.run(['explain', '01a20252-710d-7cdd-b555-d1fd1e91d0f3'])
    expect({ status, err }).toMatchObject({ status: 1, err: expect.stringContaining('DECISION_LOG=all') })
  })

  test('the wrong kind of key: status 3; nobody there: status 1; no id: status 2', async () => {
    expect((await world.run(['explain', 'x'], { env: { HOLDPOINT_KEY: world.secrets.stop } })).status).toBe(3)
    expect(
      (await hp(['explain', 'x'], { CONSOLE_URL: 'http://127.0.0.1:9', HOLDPOINT_KEY: world.secrets.viewer }))
        .status,
    ).toBe(1)
    expect((await world.run(['explain'])).status).toBe(2)
  })
})

describe('explain what the guard denied by itself', () => {
  test('asks nobody, and says what the code means and what to do', async () => {
    const { status, out } = await hp(['explain', 'local_1', '--code', 'AUTHORITY_TIMEOUT'], {})
    expect(status).toBe(0)
    expect(out).toContain('No authority made this decision')
    expect(out).toContain('holdpoint doctor')
    const { json } = await hp(['explain', 'local_1', '--code', 'STOP_PUSHED', '--json'], {})
    expect(json).toMatchObject({
      local: true,
      code: 'STOP_PUSHED',
      todo: expect.stringContaining('holdpoint stops ls'),
    })
  })

  test('without a code it says where that is', async () => {
    expect((await hp(['explain', 'local_1'], {})).out).toContain('--code')
  })

  test('a code that no guard gives: status 2', async () => {
    expect((await hp(['explain', 'local_1', '--code', '__proto__'], {})).status).toBe(2)
  })

  test.each(LOCAL_DENIAL_CODES)('%s has a meaning and a next step', (code) => {
    expect(LOCAL_CODES[code].means).toMatch(/\.$/)
    expect(LOCAL_CODES[code].todo.length).toBeGreaterThan(20)
  })
})

describe('commands for the steps that the authority names', () => {
  const steps: [string, string | undefined][] = [
    ['POST /api/v1/org/enable {"ifEpoch":3} with a key of kind admin or full', 'holdpoint org enable'],
    [
      'Then, with the epoch that this answers: POST /api/v1/devices/unrevoke {"deviceId":"a:b:c:1","ifEpoch":"…"} with a key of kind operator, admin or full',
      'holdpoint devices restore a:b:c:1',
    ],
    [
      'POST /api/v1/org/plan {"orgId":"o","tier":"custom","limit":1200} with the platform token',
      'holdpoint org plan custom --limit 1200',
    ],
    ['Nothing is to be done: a validate would be allowed now.', undefined],
    ['POST /api/v1/unheard/of {"a":1} with a key of kind admin', undefined],
    ['POST /api/v1/org/enable {broken} with a key of kind admin', undefined],
  ]
  test.each(steps)('%s', (step, command) => expect(commandOf(step)).toBe(command))

  test('of a stop: what undoes it', () => {
    const stop = { deviceIds: [SERVER], deviceCount: 1, pattern: null }
    expect(restoreCommand({ ...stop, action: 'device.revoke' })).toBe(`holdpoint devices restore ${SERVER}`)
    expect(restoreCommand({ ...stop, action: 'org.disable', deviceIds: [] })).toBe('holdpoint org enable')
    expect(restoreCommand({ ...stop, action: 'lock.add', pattern: 'a:*' })).toBe(
      "holdpoint lock release 'a:*'",
    )
    expect(restoreCommand({ ...stop, action: 'device.remove' })).toBe(
      `holdpoint devices register ${SERVER} --restore-removed`,
    )
    expect(restoreCommand({ ...stop, action: 'key.burn' })).toContain('keys create')
  })
})
