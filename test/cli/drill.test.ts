import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { verifyDrill } from '../../src/machineid/drill-signature.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import {
  DEVICE,
  startToolServer,
  startWorld,
  type DrillWorld,
  type RunningToolServer,
} from './drill-world.ts'

const CANARIES = [DEVICE('canary', '01'), DEVICE('canary', '02')]
const FAST = ['drill', '--for', '1', '--rate', '60', '--json']

let world: DrillWorld
let servers: RunningToolServer[]
let urls: string[]

beforeAll(async () => {
  world = await startWorld()
  servers = await Promise.all(
    ['01', '02'].map((instance) =>
      startToolServer({ authority: world.authority, instance, token: world.token }),
    ),
  )
  urls = servers.map(({ url }) => url)
})
afterAll(async () => {
  for (const server of servers) await server.close()
  await world[Symbol.asyncDispose]()
})

async function devices(): Promise<Record<string, { revoked: boolean }>> {
  const { body } = await world.authority.get(PATHS.list, world.authority.keys.viewer)
  return Object.fromEntries(body.devices.map((device: { deviceId: string }) => [device.deviceId, device]))
}

describe('a drill with the canary', () => {
  test('stops it on every surface of every tool server, restores it, cuts it off, mends it, and removes it', async () => {
    const { status, json, err } = await world.run(FAST, urls)

    expect(status, err).toBe(0)
    expect(json).toMatchObject({ held: true, broken: false, left: [] })
    const { report } = json.drill
    expect(report.steps.map(({ name, held }: { name: string; held: boolean }) => [name, held])).toEqual(
      ['baseline', 'stop', 'restore', 'cut', 'mend'].map((name) => [name, true]),
    )
    const stop = report.steps[1]
    // Two tool servers, two surfaces, two boundaries.
    expect(stop.measures).toHaveLength(8)
    for (const measure of stop.measures) {
      expect(measure).toMatchObject({ startedAfterAck: 0 })
      expect(measure.sentAfterAck).toBeGreaterThan(0)
      expect(measure.inFlight).toBeGreaterThan(0)
      // Pushed: what waits for two seconds ends long before.
      expect(measure.ended.maxMs).toBeLessThan(1000)
      expect(Object.keys(measure.codes)).not.toContain('ALLOW')
    }
    const cut = report.steps[3].measures.flatMap(({ codes }: { codes: object }) => Object.keys(codes))
    expect(cut.every((code: string) => code.startsWith('AUTHORITY_'))).toBe(true)
    // The control plane found the stop and the restore in its own audit, and signed both.
    expect(json.drill.attestation.audit.map(({ row }: { row: { action: string } }) => row.action)).toEqual([
      'device.revoke',
      'device.unrevoke',
    ])
    const left = await devices()
    for (const canary of CANARIES) expect(left[canary]).toBeUndefined()
    expect(left[DEVICE('payments', '01')]?.revoked).toBe(false)
  })

  test('can be done again: the canary comes back from its own removal', async () => {
    const { status, err } = await world.run([...FAST, '--no-cut'], urls)

    expect(status, err).toBe(0)
  })

  test('prints a line for each step and a table, and writes report, Markdown and plot', async () => {
    const { status, out, err } = await world.run(['drill', '--for', '1', '--rate', '60', '--no-cut'], urls)

    expect(status, err).toBe(0)
    expect(err).toMatch(/^ok {2}baseline .*\nok {2}stop .*none started.*\nok {2}restore /m)
    expect(out).toContain('STOP\tREPLICA\tSURFACE\tBOUNDARY\tSENT\tSTARTED')
    expect(out).toContain('Every step held.')
    const file = /Report: (\S+)\/report\.json/.exec(out)?.[1] ?? ''
    expect((await readdir(file)).toSorted()).toEqual(['latency.svg', 'report.json', 'report.md'])
    expect(await readFile(join(file, 'report.md'), 'utf8')).toContain('**Every step held.**')
    const svg = await readFile(join(file, 'latency.svg'), 'utf8')
    expect(svg).toContain('milliseconds after the ack')
    expect(svg).not.toMatch(/<script|@import|url\(|href/)
  })

  test('--dry-run says what would be stopped, and changes nothing', async () => {
    const { status, json } = await world.run(['drill', '--dry-run', '--json'], urls)

    expect(status).toBe(0)
    expect(json).toMatchObject({ dryRun: true, target: { kind: 'canary', deviceIds: CANARIES } })
    expect((await devices())[CANARIES[0] ?? '']).toBeUndefined()
  })
})

describe('a drill with the real thing', () => {
  test('--surface revokes that surface on every tool server, ends what runs there, and restores it', async () => {
    const { status, json, err } = await world.run([...FAST, '--surface', 'payments', '--yes'], urls)

    expect(status, err).toBe(0)
    expect(json.drill.report.target).toEqual({
      kind: 'surface',
      deviceIds: [DEVICE('payments', '01'), DEVICE('payments', '02')],
    })
    expect(json.notDone).toEqual(['cut: only a canary can be cut off, not a real surface'])
    const [, stop] = json.drill.report.steps
    // Pushed: what was in flight for two seconds ends long before.
    for (const { ended } of stop.measures) expect(ended.maxMs).toBeLessThan(1000)
    expect((await devices())[DEVICE('payments', '01')]?.revoked).toBe(false)
  })

  test('--surface asks first, and does nothing where nobody can be asked', async () => {
    const { status, err } = await world.run(['drill', '--surface', 'payments'], urls)

    expect(status).toBe(2)
    expect(err).toMatch(/REAL surface payments.*2 devices/)
    expect((await devices())[DEVICE('payments', '01')]?.revoked).toBe(false)
  })

  test('--org disables and enables the org as well', async () => {
    const { admin } = world.authority.keys
    const args = [...FAST, '--org', '--no-cut', '--yes']
    const { status, json, err } = await world.run(args, urls, { env: { HOLDPOINT_KEY: admin } })

    expect(status, err).toBe(0)
    expect(json.drill.report.steps.map(({ name }: { name: string }) => name)).toEqual([
      'baseline',
      'stop',
      'restore',
      'disable_org',
      'enable_org',
    ])
    const usage = await world.authority.get(PATHS.usage, admin)
    expect(usage.body.org.disabled).toBe(false)
  })

  test('--org with a key that could not enable the org again is refused before anything is stopped', async () => {
    const { status, err } = await world.run([...FAST, '--org', '--yes'], urls)

    expect(status).toBe(3)
    expect(err).toContain('ADMIN_KEY_NEEDED')
  })

  test('a surface that is the server device alone is refused: it would stop everything', async () => {
    const { status, err } = await world.run(['drill', '--surface', 'tool-server', '--yes'], urls)

    expect(status).toBe(2)
    expect(err).toContain('no device of its own')
  })

  test('an unknown surface is a usage error that names those there are', async () => {
    const { status, err } = await world.run(['drill', '--surface', 'nope', '--yes'], urls)

    expect(status).toBe(2)
    expect(err).toContain('There are: tool-server, payments.')
  })
})

describe('the report afterwards', () => {
  let file: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  let signed: any
  beforeAll(async () => {
    const { json } = await world.run([...FAST, '--no-cut'], urls)
    file = json.file
    signed = json.drill
  })

  test('drill verify asks the org for its key, and says what was verified', async () => {
    const { status, out } = await world.run(['drill', 'verify', file], [])

    expect(status).toBe(0)
    expect(out).toContain('is as it was signed')
    expect(out).toContain('Key: that of the org')
    expect(out).toContain('a row of each of the 2 stops and restores')
  })

  test('offline with --key, and with nothing but the file it says that the key proves little', async () => {
    const nowhere = { CONSOLE_URL: 'http://127.0.0.1:1' }
    const given = await world.run(['drill', 'verify', file, '--key', signed.publicKey, '--json'], [], {
      env: nowhere,
    })
    const alone = await world.run(['drill', 'verify', file], [], { env: nowhere })

    expect(given.json).toMatchObject({ verified: true, key: { from: 'given' } })
    expect(alone.status).toBe(0)
    expect(alone.out).toContain('only the one in the file')
  })

  test.each([
    ['a figure', (text: string) => text.replace('"sentAfterAck":', '"sentAfterAck":1')],
    ['a member more', (text: string) => text.replace('"report": {', '"report": { "extra": 1,')],
    ['the signature', (text: string) => text.replace(/"signature": "./, '"signature": "_')],
    ['no JSON at all', (text: string) => text.slice(0, -20)],
  ])('tampered (%s): not verified, status 3', async (_, tamper) => {
    const copy = join(world.dataDir, 'tampered.json')
    const text = await readFile(file, 'utf8')
    expect(tamper(text)).not.toBe(text)
    await writeFile(copy, tamper(text))
    const { status, err } = await world.run(['drill', 'verify', copy], [])

    expect(status).toBe(3)
    expect(err).toContain('NOT VERIFIED')
  })

  test('signed anew with another key: believed alone, not against the key of the org', async () => {
    const { newSigningKey, signAttestation } = await import('../../src/machineid/drill-signature.ts')
    const { publicKey, privateKey } = newSigningKey()
    const forged = { ...signed, signature: signAttestation(signed.attestation, privateKey), publicKey }
    expect(verifyDrill(forged).problem).toBeUndefined()
    const copy = join(world.dataDir, 'forged.json')
    await writeFile(copy, JSON.stringify(forged))

    expect((await world.run(['drill', 'verify', copy], [])).status).toBe(3)
    expect((await world.run(['drill', 'verify', copy, '--key', signed.publicKey], [])).status).toBe(3)
  })

  test('drill ls and drill show have it', async () => {
    const { drillId } = signed.report
    const listed = await world.run(['drill', 'ls', '--json'], [])
    const shown = await world.run(['drill', 'show', drillId, '--json'], [])
    const table = await world.run(['drill', 'show', drillId], [])

    expect(listed.json.drills[0]).toMatchObject({ drillId, held: true, startedAfterAck: 0 })
    expect(verifyDrill(shown.json).problem).toBeUndefined()
    expect(table.out).toContain('Every step held.')
    expect((await world.run(['drill', 'show', 'no-such'], [])).status).toBe(1)
  })

  test.each([
    [['drill', '--rate', '0']],
    [['drill', '--for', '31']],
    [['drill', 'nonsense']],
    [['drill', 'verify']],
  ])('%j is a usage error', async (args) => {
    expect((await world.run(args, urls)).status).toBe(2)
  })
})
