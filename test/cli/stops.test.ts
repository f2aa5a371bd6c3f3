import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { confirmationOf, stopLines } from '../../src/cli/stop-text.ts'
import { createPaint } from '../../src/cli/terminal.ts'
import { recentlyUnconfirmed } from '../../src/cli/watch-stop.ts'
import type { StopBody } from '../../src/machineid/wire-stops.ts'
import { EMAIL, hp, PAYMENTS, SERVER, startWorld, until, type World } from './operate-world.ts'

// oxlint-disable-next-line no-control-regex
const COLOUR = /\u001B\[/
const AWAY = { CONSOLE_URL: 'http://127.0.0.1:9', HOLDPOINT_KEY: 'org_viewer_x' }

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

describe('status', () => {
  test('says that everything is allowed, with devices, processes and tool servers', async () => {
    const { status, out } = await world.run(['status'])
    expect(status).toBe(0)
    expect(out).toContain(`Everything is allowed in org ${world.secrets.orgId}`)
    expect(out).toContain('3 of 3 (plan free)')
    expect(out).toContain('1 of 1 listen for stops')
    expect(out).toContain('0 unknown outcomes, 0 approvals waiting')
    expect(out).not.toMatch(COLOUR)
  })

  test('says what is stopped, by whom, why, since when, and what restores it', async () => {
    await world.run(['devices', 'revoke', EMAIL, '--reason', 'spam'])
    await world.run(['surface', 'stop', 'payments', '-y', '--reason', 'odd refunds'])
    const { out } = await world.run(['status'])
    expect(out).toContain('Something is stopped')
    expect(out).toMatch(new RegExp(`${EMAIL}\\trevoked\\t\\S+\\tstop:\\w+\\tspam`))
    expect(out).toMatch(new RegExp(`${PAYMENTS}\\tlocked\\t\\S+\\tstop:\\w+\\todd refunds`))
    expect(out).toContain("holdpoint lock release '*:*:payments:*'")
    expect((await world.run(['status', '--json'])).json).toMatchObject({
      allAllowed: false,
      org: { disabled: false },
      allowedCount: 1,
    })
    await world.run(['panic', '-y', '--reason', 'all of it'])
    const all = await world.run(['status'], { typed: '' })
    expect(all.out).toContain('EVERYTHING is stopped')
    expect(all.out).toMatch(/Disabled .* by stop:\w+: "all of it"/)
    expect(all.out).toMatch(COLOUR)
    expect((await world.run(['status'], { typed: '', env: { NO_COLOR: '1' } })).out).not.toMatch(COLOUR)
    await world.run(['org', 'enable', '-y'])
    await world.run(['surface', 'restore', 'payments'])
    await world.run(['devices', 'restore', EMAIL])
    expect((await world.run(['status', '--json'])).json.allAllowed).toBe(true)
  })

  test('a tool server that is away is told as such, and no error', async () => {
    const { status, json } = await world.run(['status', '--json', '--tool-server', 'http://127.0.0.1:9'])
    expect(status).toBe(0)
    expect(json.toolServers).toMatchObject([
      { url: 'http://127.0.0.1:9', problem: expect.stringContaining('not reachable') },
    ])
  })

  test('a tool server that denies everything by itself is in the headline: nothing is green then', async () => {
    await using lost = await startWorld()
    await lost.controlPlane.close()
    await lost.pay('lost', 'INV-1001', 12_550)
    const args = ['status', '--tool-server', lost.toolServer.url]
    const { status, out } = await world.run(args)
    expect(status).toBe(0)
    expect(out).not.toContain('Everything is allowed')
    expect(out).toMatch(/^Nothing is stopped in org \w+, and yet not everything is allowed\.\n/)
    expect(out).toContain(
      `The tool server at ${lost.toolServer.url} denies every call: it got no answer from its control plane (AUTHORITY_UNREACHABLE).\nSee: holdpoint doctor\n`,
    )
    const { json } = await world.run([...args, '--json'])
    expect(json).toMatchObject({
      allAllowed: false,
      toolServers: [{ status: 'degraded', deniesAll: expect.stringContaining('no answer') }],
    })
  })

  test('a control plane that is away is one: status 1; a key that is none: status 3', async () => {
    const away = await hp(['status'], AWAY)
    expect({ status: away.status, err: away.err }).toMatchObject({
      status: 1,
      err: expect.stringContaining('npx holdpoint start'),
    })
    expect((await world.run(['status'], { env: { HOLDPOINT_KEY: 'org_viewer_nobody' } })).status).toBe(3)
  })
})

describe('stops', () => {
  test('ls and show tell what every process made of a stop, from what was observed', async () => {
    const held = world.hold('payments', 20_000)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const { epoch } = (await world.run(['devices', 'revoke', PAYMENTS, '--reason', 'look', '--json'])).json
    const shown = await until(
      () => world.run(['stops', 'show', String(epoch), '--json']),
      ({ json }) => json.state === 'confirmed',
    )
    expect(shown.json).toMatchObject({
      epoch,
      action: 'device.revoke',
      deviceIds: [PAYMENTS],
      reason: 'look',
      restore: `holdpoint devices restore ${PAYMENTS}`,
      replicas: [{ state: 'confirmed', aborted: 1, running: 0 }],
    })
    expect(await held).toMatchObject({ endedBy: 'stop' })
    const { out } = await world.run(['stops', 'show', String(epoch)])
    expect(out).toContain('Confirmed by the one replica')
    expect(out).toContain(`To restore, if it still holds: holdpoint devices restore ${PAYMENTS}`)
    const { out: list } = await world.run(['stops', 'ls', '--limit', '1'])
    const [titles, row] = list.split('\n').map((line) => line.split('\t'))
    expect(titles).toEqual(['EPOCH', 'WHEN', 'ACTION', 'WHAT', 'CONFIRMED', 'BY', 'REASON'])
    expect(row).toEqual([
      String(epoch),
      expect.stringMatching(/Z$/),
      'device.revoke',
      PAYMENTS,
      'confirmed',
      expect.stringMatching(/^stop:/),
      'look',
    ])
    await world.run(['devices', 'restore', PAYMENTS])
  })

  test('a page says how the next one is asked for', async () => {
    await world.run(['devices', 'revoke', EMAIL])
    await world.run(['devices', 'revoke', EMAIL])
    const { err } = await world.run(['stops', 'ls', '--limit', '1'])
    const cursor = /--cursor (\S+)/.exec(err)?.[1] as string
    const first = (await world.run(['stops', 'ls', '--limit', '1', '--json'])).json
    const next = (await world.run(['stops', 'ls', '--limit', '1', '--cursor', cursor, '--json'])).json
    expect(next.stops[0].epoch).toBeLessThan(first.stops[0].epoch)
    await world.run(['devices', 'restore', EMAIL])
  })

  test('an epoch that was no stop: status 1; none at all, or no number: status 2; nobody there: status 1', async () => {
    const { status, err } = await world.run(['stops', 'show', '999999'])
    expect({ status, err }).toMatchObject({ status: 1, err: expect.stringContaining('stops ls') })
    expect((await world.run(['stops', 'show', 'soon'])).status).toBe(2)
    expect((await world.run(['stops', 'show'])).status).toBe(2)
    expect((await hp(['stops', 'ls'], AWAY)).status).toBe(1)
  })
})

describe('replicas ls', () => {
  test('tells who listens, with what key, and how fast answers come', async () => {
    const { status, json } = await world.run(['replicas', 'ls', '--json'])
    expect(status).toBe(0)
    expect(json.replicas).toMatchObject([{ keyKind: 'runtime', stream: 'up', silent: false }])
    const { out } = await world.run(['replicas', 'ls'])
    expect(out).toMatch(new RegExp(`\\n${SERVER}/[0-9a-f]{8}\\tlistens\\t`))
    expect((await hp(['replicas', 'ls'], AWAY)).status).toBe(1)
  })
})

describe('what is said of a stop', () => {
  const replica: StopBody['replicas'][number] = {
    replica: 'a',
    state: 'confirmed',
    toldAt: '2026-11-22T08:00:00.004Z',
    receivedAt: '2026-11-22T08:00:00.010Z',
    settledAt: '2026-11-22T08:00:01.500Z',
    lastDenied: null,
    lastSeenAt: null,
    aborted: 0,
    finished: 1,
    unknown: 0,
    running: 0,
    calls: [],
  }
  const stop = (state: StopBody['state'], replicas: StopBody['replicas']): StopBody => ({
    epoch: 3,
    action: 'org.disable',
    deviceIds: [],
    deviceCount: 0,
    pattern: null,
    keyId: null,
    by: 'stop:x',
    reason: null,
    at: '2026-11-22T08:00:00.000Z',
    state,
    replicas,
  })
  const said = (body: StopBody) => stopLines(body, { columns: 200, paint: createPaint(false) })

  test('times are counted from the stop, and each call is told', () => {
    const calls = [{ callId: 'c1', runId: 'r1', tool: 'send_payment', end: 'finished' as const }]
    const text = said(stop('confirmed', [{ ...replica, calls }]))
    expect(text).toMatch(/a\s+confirmed\s+\+4 ms\s+\+10 ms\s+\+1 s\s+1 finished/)
    expect(text).toMatch(/c1\s+send_payment\s+r1\s+finished/)
  })

  test('one that is silent makes it unconfirmed, and is named: never a hopeful done', () => {
    const text = said(
      stop('unconfirmed', [
        replica,
        { ...replica, replica: 'b', state: 'silent', toldAt: null, receivedAt: null, settledAt: null },
      ]),
    )
    expect(text).toContain('Unconfirmed: 1 of 2')
    expect(text).toContain('  b: nothing was heard of it')
    expect(text).not.toMatch(/^Confirmed/m)
  })

  test('confirmed says all the same when nobody knows whether an effect happened', () => {
    expect(said(stop('confirmed', [{ ...replica, unknown: 2 }]))).toContain('Of 2 effects nobody knows')
  })

  test('one of yesterday that nobody confirmed is history, one of today is not', () => {
    const open = stop('unconfirmed', [{ ...replica, state: 'silent' }])
    const atMs = Date.parse(open.at)
    expect(recentlyUnconfirmed([open, stop('confirmed', [replica])], atMs + 3_600_000)).toEqual([open])
    expect(recentlyUnconfirmed([open], atMs + 25 * 3_600_000)).toEqual([])
  })

  test('the burn of a key waits for nobody: cut where it was told, and whom it did not reach is named', () => {
    const none = { receivedAt: null, settledAt: null, finished: 0 }
    const burn: StopBody = {
      ...stop('unconfirmed', [
        { ...replica, ...none, state: 'told' },
        { ...replica, ...none, replica: 'b', state: 'silent', toldAt: null },
      ]),
      action: 'key.burn',
      keyId: 'k1',
    }
    const text = said(burn)
    expect(text).toMatch(/^a\s+cut\s+\+4 ms/m)
    expect(text).toContain('Cut: 1 of 2 told.')
    expect(text).toContain('  b: nothing was heard of it')
    expect(text).not.toMatch(/unconfirmed/i)
    expect(confirmationOf(burn, createPaint(false))).toBe('cut')
    expect(recentlyUnconfirmed([burn], Date.parse(burn.at))).toEqual([])
    expect(burn.state).toBe('unconfirmed')
  })

  test('nobody to confirm it is not confirmed', () => {
    expect(said(stop('no_replicas', []))).toMatch(/^Nobody to confirm it/)
  })
})
