import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { startRelay } from './relay.ts'
import { cells, PLATFORM_TOKEN, run as runIt, type RunOptions } from './run.ts'

const PAYMENTS = 'openai-agent:prod:payments:01'
const EMAIL = 'openai-agent:prod:email:01'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes({ platformToken: PLATFORM_TOKEN })
  for (const id of [PAYMENTS, EMAIL, 'other:dev:payments:02']) await authority.register(id)
})
afterAll(() => authority.close())

const run = (args: readonly string[], options: RunOptions = {}) => runIt(args, { authority, ...options })
const codeOf = async (deviceId: string) =>
  (await authority.post('/api/v1/devices/validate', { deviceId }, authority.keys.runtime)).body.code

describe('stops restore', () => {
  test('G6: restores what one stop took away, not what was revoked before or stopped since', async () => {
    await authority.revoke(EMAIL)
    const { body } = await authority.post(
      '/api/v1/devices/revoke_batch',
      { deviceIds: [PAYMENTS, EMAIL, 'other:dev:payments:02'] },
      authority.keys.stop,
    )
    const epoch = String(body.orgEpoch)
    await authority.revoke('other:dev:payments:02')
    const look = await run(['stops', 'restore', epoch, '--dry-run'])
    expect(look.stdout).toBe(`Would restore 1 device (${PAYMENTS}).\n`)
    const { status, stdout } = await run(['stops', 'restore', epoch, '--reason', 'a mistake'])
    expect(status).toBe(0)
    expect(stdout).toContain('Restored 1 device.')
    expect(await codeOf(PAYMENTS)).toBe('ALLOW')
    for (const id of [EMAIL, 'other:dev:payments:02']) expect(await codeOf(id)).toBe('DEVICE_REVOKED')
    const again = await run(['stops', 'restore', epoch])
    expect(again).toMatchObject({ status: 0, stdout: expect.stringContaining('holds no device any more') })
    expect((await run(['stops', 'restore', '999999'])).status).toBe(1)
    for (const id of [EMAIL, 'other:dev:payments:02']) await authority.restore(id)
  })

  test('of several devices it asks first', async () => {
    const deviceIds = [PAYMENTS, EMAIL]
    const path = '/api/v1/devices/revoke_batch'
    const { body } = await authority.post(path, { deviceIds }, authority.keys.stop)
    const args = ['stops', 'restore', String(body.orgEpoch)]
    const no = await run(args, { answer: 'n' })
    expect(no.stderr).toContain(`Restore 2 devices (${PAYMENTS}, ${EMAIL})? [y/N]`)
    expect(await codeOf(EMAIL)).toBe('DEVICE_REVOKED')
    expect((await run(args, { answer: 'y' })).status).toBe(0)
    for (const id of deviceIds) expect(await codeOf(id)).toBe('ALLOW')
  })
})

describe('surface', () => {
  test('stop holds on every replica, those to come too, until restore', async () => {
    const { status, stdout } = await run(['surface', 'stop', 'payments', '--yes', '--reason', 'odd prices'])
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^Stopped surface payments, also on replicas to come \(\*:\*:payments:\*, epoch \d+\)\. Undo: holdpoint surface restore payments\n$/,
    )
    await authority.register('openai-agent:prod:payments:99')
    for (const id of [PAYMENTS, 'other:dev:payments:02', 'openai-agent:prod:payments:99'])
      expect(await codeOf(id)).toBe('DEVICE_LOCKED')
    expect(await codeOf(EMAIL)).toBe('ALLOW')
    const restored = await run(['surface', 'restore', 'payments'])
    expect(restored.stdout).toMatch(/^Released \*:\*:payments:\* at epoch \d+\./)
    expect(restored.stderr).toContain('odd prices')
    expect(await codeOf(PAYMENTS)).toBe('ALLOW')
  })

  test('--env and --service narrow, and the way back names them', async () => {
    const args = ['surface', 'stop', 'payments', '--env', 'prod', '--service', 'openai-agent', '--yes']
    const { stdout } = await run(args)
    expect(stdout).toContain('openai-agent:prod:payments:*')
    expect(stdout).toContain('holdpoint surface restore payments --env prod --service openai-agent')
    expect(await codeOf('other:dev:payments:02')).toBe('ALLOW')
    const other = await run(['surface', 'restore', 'payments'])
    expect(other.status).toBe(1)
    expect(other.stderr).toContain('There is: openai-agent:prod:payments:*')
    await run(['surface', 'restore', 'payments', '--env', 'prod', '--service', 'openai-agent'])
    expect(await codeOf(PAYMENTS)).toBe('ALLOW')
  })

  test.each([
    ['mail', ['surface', 'stop', 'mail', '--yes']],
    ['post', ['panic', '--surface', 'post', '--yes', '--wait', '0']],
  ])('%s: a device of it without an instance is passed by, and that is no success', async (name, args) => {
    const ids = [`openai-agent:prod:${name}`, `openai-agent:prod:${name}:01`] as const
    for (const id of ids) await authority.register(id)
    const { status, stderr } = await run(args)
    expect(status).toBe(1)
    expect(stderr).toContain(`not for devices of ${name} without an instance: ${ids[0]}.`)
    expect(stderr).toContain(`holdpoint lock add '*:*:${name}'`)
    expect([await codeOf(ids[0]), await codeOf(ids[1])]).toEqual(['ALLOW', 'DEVICE_LOCKED'])
    await run(['surface', 'restore', name])
    for (const id of ids) await run(['devices', 'rm', id])
  })

  test('one that no device has is locked all the same, and is no success', async () => {
    const { status, stdout, stderr } = await run(['surface', 'stop', 'records', '--yes'])
    expect(status).toBe(1)
    expect(stdout).toContain('NOTHING that runs was stopped')
    expect(stderr).toContain("No device fits '*:*:records:*' now")
    await run(['surface', 'restore', 'records'])
  })

  test('a stop that was made is told, also when nothing more can be looked up', async () => {
    await using relay = await startRelay(authority.operatorUrl, (asked) => !asked.includes('preview'))
    const { status, stdout } = await run(['surface', 'stop', 'payments', '--yes'], {
      env: { CONSOLE_URL: relay.url },
    })
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Stopped surface'),
    })
    await run(['surface', 'restore', 'payments'])
  })

  test('--dry-run and an unanswered question change nothing', async () => {
    const dry = await run(['surface', 'stop', 'payments', '--dry-run', '--json'])
    expect(dry.json()).toMatchObject({ dryRun: true, hits: expect.any(Number) })
    expect((await run(['surface', 'stop', 'payments'])).status).toBe(2)
    expect((await run(['surface', 'stop', 'payments'], { answer: 'n' })).status).toBe(1)
    expect((await run(['lock', 'ls', '--json'])).json().locks).toEqual([])
  })

  test.each([['pay:ments'], ['*'], ['']])('%j is no surface', async (name) => {
    expect((await run(['surface', 'stop', name, '--yes'])).status).toBe(2)
  })
})

test.each(['--pattern=openai-agent:prod:paymnts:*', '--label=team=nobody'])(
  'a revoke that hits no device has stopped nothing, and is no success: %s',
  async (which) => {
    const { status, stdout, stderr } = await run(['devices', 'revoke', which, '--yes', '--json'])
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ changed: 0, results: [] })
    expect(stderr).toContain('NO_DEVICE_FITS')
  },
)

describe('lock', () => {
  test('add, ls and release, by ID or by pattern', async () => {
    const added = (await run(['lock', 'add', 'openai-agent:prod:*', '--yes', '--json'])).json()
    expect(added).toMatchObject({ active: true, pattern: 'openai-agent:prod:*' })
    const [titles, ...rows] = cells((await run(['lock', 'ls'])).stdout)
    expect(titles).toEqual(['LOCK', 'PATTERN', 'STATE', 'SINCE', 'BY', 'REASON'])
    expect(rows[0]?.slice(0, 3)).toEqual([added.lockId, 'openai-agent:prod:*', 'held'])
    expect((await run(['lock', 'release', added.lockId])).status).toBe(0)
    expect((await run(['lock', 'ls'], { terminal: 80 })).stdout).toBe('No lock is held.\n')
    expect((await run(['lock', 'ls', '--all', '--json'])).json().locks.length).toBeGreaterThan(0)
    const gone = await run(['lock', 'release', added.lockId])
    expect(gone.status).toBe(1)
    expect(gone.stderr).toContain('LOCK_NOT_FOUND')
  })

  test('of one device asks nobody; a wide one does', async () => {
    expect((await run(['lock', 'add', EMAIL])).status).toBe(0)
    await run(['lock', 'release', EMAIL])
    expect((await run(['lock', 'add', 'openai-agent:*'])).status).toBe(2)
  })

  test('that stops every device needs a reason', async () => {
    for (const pattern of ['*', '*:*', '*:*:*:*']) {
      const { status, stderr } = await run(['lock', 'add', pattern, '--yes'])
      expect(status).toBe(2)
      expect(stderr).toContain('--reason TEXT')
    }
    expect((await run(['lock', 'ls', '--json'])).json().locks).toEqual([])
  })

  test('G6: a lock that is made again between the look and the release stays, with the command to look', async () => {
    await run(['lock', 'add', EMAIL])
    await using relay = await startRelay(authority.operatorUrl, async (asked) => {
      if (!asked.startsWith('GET /api/v1/locks')) return
      await authority.post('/api/v1/locks', { pattern: EMAIL, reason: 'again' }, authority.keys.stop)
    })
    const { status, stderr } = await run(['lock', 'release', EMAIL], { env: { CONSOLE_URL: relay.url } })
    expect(status).toBe(1)
    expect(stderr).toContain('Look at it with: holdpoint lock ls (EPOCH_STALE)')
    expect(await codeOf(EMAIL)).toBe('DEVICE_LOCKED')
    await run(['lock', 'release', EMAIL])
  })
})

describe('org', () => {
  test('disable needs a reason and a yes; enable is against the epoch that it has shown', async () => {
    expect((await run(['org', 'disable', '--yes'])).stderr).toContain('Say why: --reason TEXT')
    expect((await run(['org', 'disable', '--yes'])).status).toBe(2)
    const dry = await run(['org', 'disable', '--dry-run'])
    expect(dry.stdout).toContain('Would stop the whole org: 4 devices')
    expect(await codeOf(EMAIL)).toBe('ALLOW')
    const { stdout } = await run(['org', 'disable', '--reason', 'leak', '--yes'])
    expect(stdout).toMatch(
      /^Disabled org o_\w+ at epoch \d+: every device is denied\. Undo: holdpoint org enable\n$/,
    )
    expect(await codeOf(EMAIL)).toBe('ORG_DISABLED')
    const usage = await run(['org', 'usage'])
    expect(usage.stdout).toMatch(/State {5}Disabled \d{4}-.* by \w+: leak\n/)
    const no = await run(['org', 'enable'])
    expect(no.status).toBe(2)
    expect(await codeOf(EMAIL)).toBe('ORG_DISABLED')
    const yes = await run(['org', 'enable'], { answer: 'yes' })
    expect(yes.stderr).toContain('leak')
    expect(yes.stdout).toContain('What is revoked or locked stays so.')
    expect(await codeOf(EMAIL)).toBe('ALLOW')
    expect((await run(['org', 'enable'])).stdout).toContain('is not disabled')
  })

  test('G6: an org that is disabled again while somebody reads the question stays disabled', async () => {
    await run(['org', 'disable', '--reason', 'one', '--yes'])
    const again = () => authority.post('/api/v1/org/disable', { reason: 'two' }, authority.keys.stop)
    const { status, stderr } = await run(['org', 'enable'], { answer: 'y', beforeAnswer: again })
    expect(status).toBe(1)
    expect(stderr).toContain('(EPOCH_STALE)')
    expect(stderr).toContain('Look at it with: holdpoint org usage')
    expect(await codeOf(EMAIL)).toBe('ORG_DISABLED')
    await run(['org', 'enable', '--yes'])
  })

  test('a stop key disables and may not enable', async () => {
    const key = authority.keys.stop
    expect((await run(['org', 'disable', '--reason', 'x', '--yes'], { key })).status).toBe(0)
    const { status, stderr } = await run(['org', 'enable', '--yes'], { key })
    expect(status).toBe(3)
    expect(stderr).toContain('It takes a key of kind admin or full.')
    await run(['org', 'enable', '--yes'])
  })

  test('usage in JSON', async () => {
    const { json } = await run(['org', 'usage', '--json'])
    expect(json()).toMatchObject({ orgId: authority.orgId, planTier: 'pro', org: { disabled: false } })
  })

  test('plan takes the platform token, and asks when it stops devices', async () => {
    const dry = await run(['org', 'plan', 'free', '--dry-run'])
    expect(dry.stdout).toMatch(/^Would stop 4 devices \(4 allowed now\)|^Would stop 1 device/)
    expect((await run(['org', 'plan', 'free'])).status).toBe(2)
    const set = await run(['org', 'plan', 'custom', '--limit', '500'])
    expect(set.stdout).toContain('has plan custom, active: 4 of 500 devices.')
    expect((await run(['org', 'plan', 'bogus'])).status).toBe(2)
    expect((await run(['org', 'plan', 'custom'])).stderr).toContain('Give "limit" with tier "custom"')
    const wrong = await run(['org', 'plan', 'pro', '--yes'], {
      env: { PLATFORM_TOKEN: 'x'.repeat(40) },
    })
    expect(wrong.status).toBe(3)
    expect(wrong.stderr).not.toContain('x'.repeat(40))
  })

  test('owners are listed, added and removed', async () => {
    const added = await run(['org', 'owners', '--add', 'Ops@example.com', '--add', 'two@example.com'])
    expect(added.stdout).toBe('ops@example.com\ntwo@example.com\n')
    await run(['org', 'owners', '--remove', 'two@example.com'])
    expect((await run(['org', 'owners', '--json'])).json().owners).toEqual(['ops@example.com'])
    expect((await run(['org', 'owners', '--add', 'nobody'])).status).toBe(2)
  })
})
