import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { hp, PAYMENTS, SERVER, startWorld, until, type World } from './operate-world.ts'

// oxlint-disable-next-line no-control-regex
const COLOUR = /\u001B\[/

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world[Symbol.asyncDispose]())
afterEach(async () => {
  await world.run(['org', 'enable', '--yes'])
  await world.run(['surface', 'restore', 'payments', '--yes'])
})

const stopKey = () => ({ HOLDPOINT_KEY: world.secrets.stop })

describe('panic, with the stop key alone', () => {
  test('stops the whole org in one word, waits for every process to confirm, and names what restores', async () => {
    const held = world.hold('payments', 20_000)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const { status, json } = await world.run(['panic', '--yes', '--json', '--wait-confirmed'], {
      env: stopKey(),
    })
    expect(status).toBe(0)
    expect(json).toMatchObject({
      stopped: true,
      action: 'org.disable',
      orgId: world.secrets.orgId,
      surface: null,
      tries: 1,
      confirmed: true,
      state: 'confirmed',
      restore: 'holdpoint org enable',
    })
    expect(json.reason).toMatch(/^panic by .+@.+$/)
    expect(json.ackMs).toBeGreaterThan(0)
    expect(json.replicas).toMatchObject([
      { state: 'confirmed', aborted: 1, running: 0, calls: [{ end: 'aborted' }] },
    ])
    expect(await held).toMatchObject({ started: true, endedBy: 'stop' })
    expect(await world.pay('after', 'INV-1001', 12_550)).toMatchObject({ code: 'ORG_DISABLED' })
    const usage = (await world.run(['status', '--json'])).json
    expect(usage).toMatchObject({ allAllowed: false, org: { disabled: true } })
  })

  test('says it in words: stopped, acked in how many ms, confirmed by whom, and the command that restores', async () => {
    const { status, out } = await world.run(['panic', '--yes', '--reason', 'odd refunds'], { env: stopKey() })
    expect(status).toBe(0)
    expect(out).toContain(`STOPPED EVERYTHING of org ${world.secrets.orgId}`)
    expect(out).toMatch(/Acked in \d+\.\d ms, epoch \d+, reason "odd refunds"/)
    expect(out).toContain('Confirmed by the one replica')
    expect(out).toContain('To restore: holdpoint org enable')
    expect(out).not.toMatch(COLOUR)
  })

  test('one process that says nothing leaves it unconfirmed: named, and with --wait-confirmed status 3', async () => {
    await world.presence(`${SERVER}/deaf0001`, false)
    await until(
      () => world.run(['replicas', 'ls', '--json']),
      ({ json }) => json.replicas.length === 2,
    )
    const args = ['panic', '--yes', '--wait', '1', '--wait-confirmed']
    const { status, out, err } = await world.run(args, { env: stopKey() })
    expect(status).toBe(3)
    expect(out).toContain('Unconfirmed: 1 of 2')
    expect(out).toContain(`${SERVER}/deaf0001: nothing was heard of it`)
    expect(err).toMatch(/The stop holds, and is not confirmed \(unconfirmed\).*holdpoint stops show \d+/)
    const findings = (await world.run(['doctor', '--json'])).json.findings as {
      check: string
      level: string
    }[]
    expect(findings.filter(({ level }) => level !== 'ok').map(({ check }) => check)).toContain('stops')
    await world.presence(`${SERVER}/deaf0001`, true)
  })

  test('--surface locks the surface on every replica, present and to come, and leaves the others alone', async () => {
    const { status, json } = await world.run(['panic', '--surface', 'payments', '--yes', '--json'], {
      env: stopKey(),
    })
    expect(status).toBe(0)
    expect(json).toMatchObject({
      action: 'lock.add',
      surface: 'payments',
      pattern: '*:*:payments:*',
      stopped: true,
      deviceCount: 1,
      confirmed: true,
      restore: 'holdpoint surface restore payments',
    })
    expect(await world.pay('locked', 'INV-1002', 4820)).toMatchObject({
      code: 'DEVICE_LOCKED',
      device_id: PAYMENTS,
    })
    const preview = (await world.run(['status', '--json'])).json
    expect(preview.denied.map((device: { deviceId: string }) => device.deviceId)).toEqual([PAYMENTS])
    expect((await world.run(['surface', 'restore', 'payments'])).status).toBe(0)
    expect(await world.pay('restored', 'INV-1003', 9900)).not.toMatchObject({ code: 'DEVICE_LOCKED' })
  })

  test('a surface that no device has is locked all the same, and is no success: most often it is mistyped', async () => {
    const args = ['panic', '--surface', 'paymnts', '--yes', '--wait', '1']
    const { status, json, err } = await world.run([...args, '--json'])
    expect(status).toBe(1)
    expect(json).toMatchObject({
      stopped: false,
      deviceCount: 0,
      pattern: '*:*:paymnts:*',
      confirmed: false,
      state: 'no_replicas',
    })
    expect(JSON.parse(err).error).toMatchObject({
      code: 'NO_DEVICE_FITS',
      message: expect.stringContaining('stops nothing that runs'),
    })
    const words = await world.run(args)
    expect(words.status).toBe(1)
    expect(words.out).toMatch(/^NOTHING that runs was stopped: no device has this surface now\./)
    expect(words.out).not.toContain('STOPPED')
    expect((await world.run(['lock', 'ls'])).out).toContain('*:*:paymnts:*')
    await world.run(['surface', 'restore', 'paymnts'])
  })

  test('a name that is no surface stops nothing: status 2', async () => {
    const { status, err } = await world.run(['panic', '--surface', 'pay:ments', '--yes'])
    expect({ status, err }).toMatchObject({ status: 2, err: expect.stringContaining('is not a surface') })
  })

  test('--dry-run says what it would hit and changes nothing', async () => {
    const { status, json } = await world.run(['panic', '--dry-run', '--json'])
    expect(status).toBe(0)
    expect(json).toMatchObject({ dryRun: true, deviceCount: 3, hits: 3 })
    expect((await world.run(['status', '--json'])).json.allAllowed).toBe(true)
  })
})

describe('panic asks', () => {
  test('on a terminal, with what it hits; yes stops, in colour', async () => {
    const { status, out, err } = await world.run(['panic'], { typed: 'y\n' })
    expect(err).toMatch(
      new RegExp(`Stop EVERYTHING of org ${world.secrets.orgId}: 3 devices, .*\\? \\[y/N\\]`),
    )
    expect(status).toBe(0)
    expect(out).toContain('STOPPED')
    expect(out).toMatch(COLOUR)
  })

  test('no stops nothing: status 1', async () => {
    const { status, err } = await world.run(['panic'], { typed: 'n\n' })
    expect({ status, err }).toMatchObject({ status: 1, err: expect.stringContaining('Nothing was stopped') })
    expect((await world.run(['status', '--json'])).json.allAllowed).toBe(true)
  })

  test('without a terminal and without --yes there is nobody to ask: status 2', async () => {
    const { status, err } = await world.run(['panic'])
    expect({ status, err }).toMatchObject({ status: 2, err: expect.stringContaining('--yes') })
  })

  test('and asks all the same when what it hits cannot be looked up', async () => {
    const { url, close } = await faultyAuthority((path) => (path.includes('preview=true') ? 'refuse' : 'ack'))
    const { status, err } = await hp(
      ['panic', '--wait', '0'],
      { CONSOLE_URL: url, HOLDPOINT_KEY: 'org_stop_x' },
      { typed: 'y\n' },
    )
    expect(err).toContain('what it hits cannot be said')
    expect(status).toBe(0)
    await close()
  })
})

describe('panic when things go wrong', () => {
  test('a viewer key may not: status 3, and it says which key', async () => {
    const { status, err } = await world.run(['panic', '--yes'], {
      env: { HOLDPOINT_KEY: world.secrets.viewer },
    })
    expect(status).toBe(3)
    expect(err).toContain('HOLDPOINT_KEY')
    expect(err).not.toContain(world.secrets.viewer)
  })

  test('nobody there: tries until the time is up, counts aloud, and says that nothing was stopped', async () => {
    const env = { CONSOLE_URL: 'http://127.0.0.1:9', HOLDPOINT_KEY: world.secrets.stop }
    const { status, err, out } = await hp(['panic', '--yes', '--wait', '0.5'], env)
    expect(status).toBe(1)
    expect(err).toContain('try 1 failed')
    expect(err).toContain('try 2 failed')
    expect(err).toContain('NOT stopped.')
    expect(err).toContain('Retry: holdpoint panic --yes')
    expect(out).toBe('')
  })

  test('what to retry is the whole command, whatever is in its reason, after a full stop', async () => {
    const env = { CONSOLE_URL: 'http://127.0.0.1:9', HOLDPOINT_KEY: world.secrets.stop }
    const args = ['--surface', 'payments', '--reason', "it's $HOME", '--wait', '0', '--wait-confirmed']
    const { err } = await hp(['panic', '--yes', ...args], env)
    expect(err).toContain(
      String.raw`npx holdpoint start. Retry: holdpoint panic --yes --surface payments --reason 'it'\''s $HOME' --wait 0 --wait-confirmed`,
    )
  })

  test('an ack that got lost is unknown, never done: status 1', async () => {
    const { url, close } = await faultyAuthority(() => 'cut')
    const { status, err } = await hp(['panic', '--yes', '--wait', '0.3'], {
      CONSOLE_URL: url,
      HOLDPOINT_KEY: 'org_stop_x',
    })
    expect({ status, err }).toMatchObject({
      status: 1,
      err: expect.stringContaining('Unknown whether it is stopped'),
    })
    await close()
  })

  test('a lost answer is followed by another try, which is acked', async () => {
    let calls = 0
    const { url, close } = await faultyAuthority((path) =>
      path.endsWith('/disable') && ++calls < 3 ? 'cut' : 'ack',
    )
    const { status, json } = await hp(['panic', '--yes', '--json', '--wait', '1'], {
      CONSOLE_URL: url,
      HOLDPOINT_KEY: 'org_stop_x',
    })
    expect({ status, json }).toMatchObject({ status: 0, json: { stopped: true, tries: 3 } })
    await close()
  })

  test('with --yes nothing is asked before the stop; a history that fails leaves it stopped and not confirmed', async () => {
    const asked: string[] = []
    const { url, close } = await faultyAuthority((path) => {
      asked.push(path)
      return path.endsWith('/disable') ? 'ack' : 'refuse'
    })
    const env = { CONSOLE_URL: url, HOLDPOINT_KEY: 'org_stop_x' }
    const { status, json } = await hp(['panic', '--yes', '--json', '--wait', '0.5'], env)
    expect(asked[0]).toBe('/api/v1/org/disable')
    expect({ status, json }).toMatchObject({
      status: 0,
      json: { stopped: true, confirmed: false, state: 'unknown' },
    })
    const strict = await hp(['panic', '--yes', '--wait', '0.2', '--wait-confirmed'], env)
    expect({ status: strict.status, err: strict.err }).toMatchObject({
      status: 3,
      err: expect.stringContaining('holds'),
    })
    await close()
  })

  test('Ctrl-C while it waits for confirmations says that the stop holds: status 130', async () => {
    const { url, close } = await faultyAuthority((path) => (path.endsWith('/disable') ? 'ack' : 'refuse'))
    const interrupt = new AbortController()
    const onOut = (out: string) => void (out.includes('STOPPED') && interrupt.abort())
    const env = { CONSOLE_URL: url, HOLDPOINT_KEY: 'org_stop_x' }
    const { status, err } = await hp(['panic', '--yes', '--wait', '30'], env, {
      signal: interrupt.signal,
      onOut,
    })
    expect({ status, err }).toMatchObject({ status: 130, err: expect.stringContaining('The stop holds') })
    await close()
  })

  test.each([['--wait', 'soon'], ['--wait', '99999'], ['--nope']])(
    'bad arguments: panic %s %s is status 2',
    async (...args) => {
      expect((await world.run(['panic', '--yes', ...args])).status).toBe(2)
    },
  )
})

/** An authority that fails as told: `cut` takes a call and answers nothing, `refuse` answers 503. */
async function faultyAuthority(
  fate: (path: string) => 'ack' | 'cut' | 'refuse',
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const ok = { status: 'ok', handler: 'x', request_id: 'r', orgId: 'o_1', epoch: 7, orgEpoch: 7 }
  const server = createServer((request, response) => {
    const what = fate(request.url ?? '')
    if (what === 'cut') return request.socket.destroy()
    response.setHeader('content-type', 'application/json')
    if (what === 'ack') return response.end(JSON.stringify(ok))
    response.statusCode = 503
    return response.end(JSON.stringify({ code: 'OVERLOADED', message: 'Too busy.' }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, 'close')
      server.closeAllConnections()
      server.close()
      await closed
    },
  }
}
