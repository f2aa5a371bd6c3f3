import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { cells, operatorFiles, run as runIt, type RunOptions } from './run.ts'

const PAYMENTS = 'openai-agent:prod:payments:01'
const EMAIL = 'openai-agent:prod:email:01'
const OTHER = 'other:dev:payments:01'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
  for (const id of [PAYMENTS, EMAIL, OTHER]) await authority.register(id)
})
afterAll(() => authority.close())
beforeEach(async () => {
  for (const id of [PAYMENTS, EMAIL, OTHER]) await authority.restore(id)
})

const run = (args: readonly string[], options: RunOptions = {}) => runIt(args, { authority, ...options })

describe('devices ls', () => {
  test('piped: one tab between cells, times as ISO 8601, no colour, one line for each device', async () => {
    const { status, stdout, stderr } = await run(['devices', 'ls'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const [titles, ...rows] = cells(stdout)
    expect(titles).toEqual(['DEVICE', 'STATE', 'CHANGED', 'LAST ASKED', 'WAS TOLD', 'REASON'])
    expect(rows.map(([device, state]) => [device, state])).toEqual([
      [EMAIL, 'active'],
      [PAYMENTS, 'active'],
      [OTHER, 'active'],
    ])
    expect(rows[0]?.[2]).toMatch(/^\d{4}-\d\d-\d\dT/)
    expect(stdout).not.toContain('\u001B')
  })

  test('on a terminal: aligned, times as spans, the IDs whole', async () => {
    const { stdout } = await run(['devices', 'ls'], { terminal: 60 })
    expect(stdout).toContain(`${PAYMENTS}  \u001B[32mactive\u001B[39m`)
    expect(stdout).toMatch(/(now|\d+ s ago)/)
    expect(stdout).not.toContain('\t')
  })

  test('on a terminal with NO_COLOR: no colour', async () => {
    const { stdout } = await run(['devices', 'ls'], { terminal: 120, env: { NO_COLOR: '1' } })
    expect(stdout).toContain(PAYMENTS)
    expect(stdout).not.toContain('\u001B')
  })

  test('--json: the devices as the API has them, with the epoch of the org', async () => {
    const { json } = await run(['devices', 'ls', '--json'])
    expect(json()).toMatchObject({ orgId: authority.orgId, orgEpoch: expect.any(Number) })
    expect(json().devices).toHaveLength(3)
    expect(json().devices[0]).toMatchObject({ deviceId: EMAIL, revoked: false, epoch: expect.any(Number) })
  })

  test.each([
    [
      ['--pattern', 'openai-agent:*'],
      [EMAIL, PAYMENTS],
    ],
    [
      ['--pattern', '*:*:payments:*'],
      [PAYMENTS, OTHER],
    ],
    [['--state', 'revoked'], [PAYMENTS]],
    [['--state', 'stopped', '--pattern', '*:dev:*'], []],
    [
      ['--state', 'active'],
      [EMAIL, OTHER],
    ],
  ])('%j narrows', async (filter, expected) => {
    await authority.revoke(PAYMENTS)
    const { json } = await run(['devices', 'ls', '--json', ...filter])
    expect(json().devices.map(({ deviceId }: { deviceId: string }) => deviceId)).toEqual(expected)
  })

  test('finds devices beyond the first page', async () => {
    await using big = await startTestLanes({ plan: { limit: 2000 } })
    const ids = Array.from({ length: 1203 }, (_, at) => `a:b:c:${String(at).padStart(4, '0')}`)
    const caller = { actor: 'test', kind: 'platform', requestId: 'test', origin: null } as const
    for (const deviceId of ids) await big.service.register(caller, big.orgId, { deviceId })
    const { json } = await runIt(['devices', 'ls', '--json'], { authority: big })
    expect(json().devices.map(({ deviceId }: { deviceId: string }) => deviceId)).toEqual(ids)
    await runIt(['devices', 'revoke', '--pattern', 'a:b:c:*', '--yes'], { authority: big })
    const restored = await runIt(['devices', 'restore', '--pattern', 'a:b:c:*', '--yes', '--json'], {
      authority: big,
    })
    expect(restored.json()).toMatchObject({ changed: 1203 })
  }, 30_000)

  test('what others wrote does not steer the terminal, and no key in it is shown', async () => {
    const reason = `\u001B]0;owned\u0007\u009B2J\u202E${authority.keys.admin}`
    await authority.post(
      '/api/v1/devices/revoke',
      { deviceId: PAYMENTS, reason: `look${reason}` },
      authority.keys.stop,
    )
    for (const options of [{ terminal: 200 }, {}]) {
      const { stdout } = await run(['devices', 'ls'], options)
      expect(stdout).toContain('look\uFFFD')
      for (const bad of ['\u001B]', '\u009B', '\u202E', '\u0007']) expect(stdout).not.toContain(bad)
      expect(stdout).not.toContain(authority.keys.admin)
    }
    const { stdout, json } = await run(['devices', 'ls', '--json'])
    expect(stdout.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u)
    expect(json().devices[1].reason.startsWith('look\u001B]0;')).toBe(true)
  })
})

describe('devices revoke', () => {
  test('one: at once, with its epoch and the way back', async () => {
    const { status, stdout } = await run(['devices', 'revoke', PAYMENTS, '--reason', 'odd prices'])
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^Revoked openai-agent:prod:payments:01 at epoch \d+\. Undo: holdpoint devices restore openai-agent:prod:payments:01\n$/,
    )
    const { json } = await run(['devices', 'ls', '--json', '--state', 'revoked'])
    expect(json().devices).toMatchObject([{ deviceId: PAYMENTS, reason: 'odd prices', remindAt: null }])
  })

  test('--remind-after says when it is overdue, and --json answers what the API does', async () => {
    const { json } = await run(['devices', 'revoke', PAYMENTS, '--remind-after', '2h', '--json'])
    expect(json()).toMatchObject({ status: 'ok', deviceId: PAYMENTS, epoch: expect.any(Number) })
    const listed = (await run(['devices', 'ls', '--json', '--state', 'revoked'])).json()
    const { remindAt, changedAt } = listed.devices[0]
    expect(Date.parse(remindAt) - Date.parse(changedAt)).toBe(2 * 3_600_000)
  })

  test('several ask first, naming what is hit; a no changes nothing', async () => {
    const no = await run(['devices', 'revoke', PAYMENTS, EMAIL], { answer: 'n' })
    expect(no.status).toBe(1)
    expect(no.stdout).toBe('')
    expect(no.stderr).toContain('Nothing was changed.')
    expect((await run(['devices', 'ls', '--state', 'active', '--json'])).json().devices).toHaveLength(3)
  })

  test('a question names devices and calls in flight, and is asked on standard error', async () => {
    const yes = await run(['devices', 'revoke', '--pattern', 'openai-agent:*'], {
      answer: 'y',
      terminal: 100,
    })
    expect(yes.stderr).toContain('Revoke 2 devices, no call in flight? [y/N]')
    expect(yes.stdout).toContain('Revoked 2 devices.')
    expect(yes.status).toBe(0)
  })

  test('without anybody to ask it is a usage error, and nothing is changed', async () => {
    const { status, stdout, stderr } = await run(['devices', 'revoke', '--pattern', '*'])
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain('Revoke 3 devices, no call in flight?')
    expect(stderr).toContain('Add --yes')
    expect((await run(['devices', 'ls', '--state', 'active', '--json'])).json().devices).toHaveLength(3)
  })

  test('--label picks those that have it', async () => {
    await run(['devices', 'register', 'x:y:z:1', '--label', 'team=billing'])
    const { stdout } = await run(['devices', 'revoke', '--label', 'team=billing', '--yes'])
    expect(cells(stdout)[1]?.slice(0, 2)).toEqual(['x:y:z:1', 'revoked'])
    await run(['devices', 'rm', 'x:y:z:1'])
  })

  test('--dry-run says what it would hit, and changes nothing', async () => {
    await authority.revoke(EMAIL)
    const before = (await run(['devices', 'ls', '--json'])).json()
    const { status, stdout } = await run(['devices', 'revoke', '--pattern', 'openai-agent:*', '--dry-run'])
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^Would revoke 2 devices \(1 allowed now\), no call in flight\. Nothing was changed\.\n/,
    )
    expect(cells(stdout).slice(2)).toEqual([
      [EMAIL, 'DEVICE_REVOKED', 'DEVICE_REVOKED', '-'],
      [PAYMENTS, 'ALLOW', 'DEVICE_REVOKED', '-'],
    ])
    const one = await run(['devices', 'revoke', PAYMENTS, '--dry-run', '--json'])
    expect(one.json()).toMatchObject({ dryRun: true, deviceCount: 1, hits: 1, inFlight: 0 })
    expect((await run(['devices', 'ls', '--json'])).json()).toEqual(before)
  })

  test('--dry-run counts the calls in flight that processes report', async () => {
    const replica = `${PAYMENTS}/0011aabb`
    const presence = {
      replica,
      devices: [
        { deviceId: EMAIL, inFlight: 1 },
        { deviceId: PAYMENTS, inFlight: 2 },
        { deviceId: 'openai-agent:prod:tool-server:01', inFlight: 3 },
      ],
      timeoutMs: 2000,
      latencyMs: null,
    }
    await authority.register('openai-agent:prod:tool-server:01')
    const told = await authority.post('/api/v1/presence', presence, authority.keys.runtime)
    expect(told.status).toBe(200)
    const inFlightOf = async (...which: string[]) =>
      (await run(['devices', 'revoke', ...which, '--dry-run', '--json'])).json().inFlight
    await expect.poll(() => inFlightOf(PAYMENTS)).toBe(2)
    expect(await inFlightOf(PAYMENTS, EMAIL)).toBe(3)
    expect(await inFlightOf('--pattern', 'openai-agent:*')).toBe(3)
    await authority.post('/api/v1/presence', { ...presence, leaving: true }, authority.keys.runtime)
    await run(['devices', 'rm', 'openai-agent:prod:tool-server:01'])
  })

  test.each([
    [['devices', 'revoke'], 'Say which'],
    [['devices', 'revoke', PAYMENTS, '--pattern', '*'], 'only one of the three'],
    [['devices', 'revoke', PAYMENTS, '--remind-after', 'soon'], '--remind-after takes a time'],
    [['devices', 'revoke', PAYMENTS, '--remind-after', '1s'], 'remindAfterSeconds must be'],
    [['devices', 'revoke', '--pattern', 'pay*'], 'The pattern must be'],
    [['devices', 'revoke', '--label', 'team'], 'A label is name=value'],
    [['devices', 'revoke', 'not an id'], 'deviceId'],
    [['devices', 'revoke', PAYMENTS, '--resaon', 'x'], "unknown option '--resaon'"],
    [['devices', 'ls', '--state', 'sad'], 'Allowed choices are active'],
    [['devices', 'ls', 'extra'], 'too many arguments'],
    [['devices', 'restore'], 'Say which'],
    [['devices', 'register', PAYMENTS, '--if-epoch', 'x'], 'An epoch is a whole number'],
    [['devices'], 'Usage: holdpoint devices'],
    [['devices', 'bogus'], "unknown command 'bogus'"],
  ])('%j is a usage error, and asks no server', async (args, message) => {
    const { status, stdout, stderr } = await run(args, { env: { CONSOLE_URL: 'http://127.0.0.1:9' } })
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain(message)
  })

  test('those that are not there are named, and the status says so', async () => {
    const one = await run(['devices', 'revoke', 'a:b:c:nobody'])
    expect(one.status).toBe(1)
    expect(one.stderr).toContain('(DEVICE_NOT_REGISTERED)')
    const some = await run(['devices', 'revoke', PAYMENTS, 'a:b:c:nobody', '--yes'])
    expect(some.status).toBe(1)
    expect(cells(some.stdout).slice(1, 3)).toEqual([
      [PAYMENTS, 'revoked', expect.any(String), '-'],
      ['a:b:c:nobody', 'DEVICE_NOT_REGISTERED', expect.any(String), '-'],
    ])
    expect(some.stderr).toContain('1 device of 2 left as they were')
  })
})

describe('devices restore', () => {
  test('G6: against the epoch that it has just shown', async () => {
    await authority.revoke(PAYMENTS)
    const { status, stdout, stderr } = await run(['devices', 'restore', PAYMENTS])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^Restored openai-agent:prod:payments:01 at epoch \d+\.\n$/)
    expect(stderr).toContain('revoked')
    expect((await run(['devices', 'ls', '--state', 'revoked', '--json'])).json().devices).toEqual([])
  })

  test('G6: a stop that comes between the look and the restore stays', async () => {
    await authority.revoke(PAYMENTS)
    await authority.revoke(EMAIL)
    const restoring = run(['devices', 'restore', '--pattern', 'openai-agent:*'], {
      answer: 'y',
      // The question is the moment in between.
      terminal: 100,
      beforeAnswer: () => authority.revoke(EMAIL),
    })
    const { status, stdout } = await restoring
    expect(stdout).toContain('EPOCH_STALE')
    expect(status).toBe(1)
    const left = (await run(['devices', 'ls', '--state', 'revoked', '--json'])).json().devices
    expect(left).toMatchObject([{ deviceId: EMAIL }])
  })

  test('G6: --if-epoch restores that stop and no newer one: device, lock, surface, org', async () => {
    const device = await authority.revoke(PAYMENTS)
    const epochOf = async (args: string[]) => (await run([...args, '--yes', '--json'])).json().epoch as number
    const lock = await epochOf(['lock', 'add', 'a:b:c:*'])
    const surface = await epochOf(['surface', 'stop', 'email'])
    const org = await epochOf(['org', 'disable', '--reason', 'test'])
    for (const [args, epoch] of [
      [['org', 'enable', '--yes'], org],
      [['surface', 'restore', 'email'], surface],
      [['lock', 'release', 'a:b:c:*'], lock],
      [['devices', 'restore', PAYMENTS], device],
    ] as const) {
      const stale = await run([...args, '--if-epoch', String(epoch - 1)])
      expect(stale).toMatchObject({ status: 1, stderr: expect.stringContaining('EPOCH_STALE') })
      expect((await run([...args, '--if-epoch', 'x'])).status).toBe(2)
      expect(await run([...args, '--if-epoch', String(epoch)])).toMatchObject({ status: 0 })
    }
  })

  test('--if-epoch is of one device', async () => {
    const wide = [
      [PAYMENTS, EMAIL],
      ['--pattern', '*'],
      [PAYMENTS, '--label', 'a=b'],
    ]
    for (const which of wide)
      expect((await run(['devices', 'restore', ...which, '--if-epoch', '1'])).stderr).toContain('give one ID')
  })

  test('what is not revoked is left alone, and what a lock holds is said', async () => {
    const nothing = await run(['devices', 'restore', PAYMENTS])
    expect(nothing).toMatchObject({ status: 0, stdout: 'None of these is revoked: nothing to restore.\n' })
    await run(['lock', 'add', PAYMENTS])
    await authority.revoke(PAYMENTS)
    const { stderr } = await run(['devices', 'restore', PAYMENTS])
    expect(stderr).toContain('It is still denied by: DEVICE_LOCKED')
    await run(['lock', 'release', PAYMENTS])
  })

  test('--dry-run names them, and changes nothing', async () => {
    await authority.revoke(PAYMENTS)
    const { stdout } = await run(['devices', 'restore', '--pattern', '*', '--dry-run'])
    expect(stdout).toMatch(/^Would restore 1 device\. Nothing was changed\.\n/)
    expect((await run(['devices', 'ls', '--state', 'revoked', '--json'])).json().devices).toHaveLength(1)
  })

  test('one that is not there is an error that names the way to bring it back', async () => {
    const { status, stderr } = await run(['devices', 'restore', 'a:b:c:gone'])
    expect(status).toBe(1)
    expect(stderr).toContain('holdpoint devices register a:b:c:gone --restore-removed')
  })
})

describe('devices register and rm', () => {
  test('register is idempotent and says what the plan has left', async () => {
    const first = await run(['devices', 'register', 'a:b:c:1'])
    expect(first.stdout).toBe('Registered a:b:c:1. 4 of 25 devices of the plan are used.\n')
    const again = await run(['devices', 'register', 'a:b:c:1'])
    expect(again.stdout).toContain('a:b:c:1 is registered already.')
    await run(['devices', 'rm', 'a:b:c:1'])
  })

  test('a removed one comes back only when asked for, and against the epoch of its removal', async () => {
    await run(['devices', 'register', 'a:b:c:2'])
    const removed = await run(['devices', 'rm', 'a:b:c:2', '--reason', 'moved'])
    expect(removed.stdout).toMatch(/^Removed a:b:c:2 at epoch \d+\./)
    const plain = await run(['devices', 'register', 'a:b:c:2'])
    expect(plain.status).toBe(3)
    expect(plain.stderr).toContain('--restore-removed')
    const stale = await run(['devices', 'register', 'a:b:c:2', '--restore-removed', '--if-epoch', '1'])
    expect(stale.status).toBe(1)
    expect(stale.stderr).toContain('(EPOCH_STALE)')
    const back = await run(['devices', 'register', 'a:b:c:2', '--restore-removed'])
    expect(back).toMatchObject({ status: 0 })
    expect(back.stdout).toContain('Registered a:b:c:2.')
    await run(['devices', 'rm', 'a:b:c:2'])
  })
})

describe('which key is taken', () => {
  test('the least of those at hand that may do it', async () => {
    const lookedBy = async (args: readonly string[], key: string) => {
      const dir = operatorFiles(authority)
      const before = await authority.get('/api/v1/org/keys', authority.keys.admin)
      const idOf = (secret: string) =>
        before.body.keys.find(({ prefix }: { prefix: string }) => secret.startsWith(prefix)).keyId as string
      await run([...args], { env: { DATA_DIR: dir } })
      const feed = await authority.get('/api/v1/audit?limit=1000', authority.keys.admin)
      expect(feed.body.rows.at(-1).actor).toBe(idOf(key))
    }
    await lookedBy(['devices', 'revoke', PAYMENTS], authority.keys.stop)
    await lookedBy(['devices', 'restore', PAYMENTS], authority.keys.operator)
  })

  test('HOLDPOINT_KEY goes before them, whatever its kind: a denial has status 3 and says what it takes', async () => {
    await authority.revoke(PAYMENTS)
    const { status, stdout, stderr } = await run(['devices', 'restore', PAYMENTS], {
      key: authority.keys.stop,
    })
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' })
    expect(stderr).toContain('A stop key may not do this. It takes a key of kind operator, admin or full.')
    expect(stderr).toContain('HOLDPOINT_KEY')
  })

  test('one that has none that may do it says which it takes', async () => {
    const DATA_DIR = operatorFiles(authority, ['viewer'])
    const { status, stderr } = await run(['devices', 'revoke', PAYMENTS], { env: { DATA_DIR } })
    expect(status).toBe(2)
    expect(stderr).toContain('This takes a key of kind stop, operator, admin or full')
    expect(stderr).toContain('HOLDPOINT_KEY')
  })
})
