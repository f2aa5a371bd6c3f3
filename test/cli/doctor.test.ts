import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { Finding } from '../../src/cli/doctor-facts.ts'
import { hp, SERVER, startWorld, type Ran, type World } from './operate-world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const bad = ({ json }: Ran) =>
  (json.findings as Finding[])
    .filter(({ level }) => level !== 'ok')
    .map(({ level, check }) => `${level} ${check}`)

describe('doctor on what npm start starts', () => {
  test('warns of nothing but the one admin key without an owner, and the operator’s keys beside the tools: status 0, with --strict 1', async () => {
    const ran = await world.run(['doctor', '--json'])
    expect(ran.status).toBe(0)
    expect(bad(ran)).toEqual(['warn admins', 'warn operator-file'])
    expect(ran.json).toMatchObject({ warn: 2, fail: 0 })
    expect((await world.run(['doctor', '--strict'])).status).toBe(1)
  })

  test('finds with an operator’s key in the environment and no file nothing at all', async () => {
    const env = {
      DATA_DIR: '/nowhere',
      CONSOLE_URL: world.controlPlane.operatorUrl as string,
      TOOL_SERVER_URL: world.toolServer.url,
      HOLDPOINT_KEY: world.secrets.viewer,
      HOLDPOINT_TOKEN: world.secrets.approverToken,
    }
    const ran = await hp(['doctor', '--strict'], env)
    expect({ status: ran.status, out: ran.out }).toMatchObject({
      status: 0,
      out: expect.stringContaining('Nothing found.'),
    })
  })

  test('says in words what it looked at: stores, streams, keys, tools, effects', async () => {
    const { out } = await world.run(['doctor'])
    expect(out).toMatch(/ok {4}Its store: sqlite [\d.]+, journal_mode=wal, synchronous=full\./)
    expect(out).toMatch(/ok {4}Its journal: sqlite, journal_mode=wal, synchronous=full\./)
    expect(out).toMatch(
      new RegExp(
        `${SERVER}/[0-9a-f]{8}\\n {2}ok {4}Asks with a key of kind runtime\\.\\n {2}ok {4}Listens for stops\\.`,
      ),
    )
    expect(out).toContain('All of its 4 tools are guarded.')
    expect(out).toContain('send_email (email), write_record (write)')
    expect(out).toMatch(/warn {2}The operator’s keys lie beside the tools\.\n.*\n {8}Fix: /)
    expect(out.trimEnd()).toMatch(/0 failures, 2 warnings$/)
  })

  test('a disabled org and an unconfirmed stop are seen', async () => {
    await world.run(['panic', '-y'])
    expect(bad(await world.run(['doctor', '--json']))).toEqual([
      'warn org',
      'warn admins',
      'warn operator-file',
    ])
    await world.run(['org', 'enable', '-y'])
  })
})

describe('doctor where something is missing', () => {
  test('nobody answers: each is a failure with its fix, status 1', async () => {
    const env = {
      CONSOLE_URL: 'http://127.0.0.1:9',
      TOOL_SERVER_URL: 'http://127.0.0.1:9',
      HOLDPOINT_KEY: world.secrets.viewer,
      DATA_DIR: '/nowhere',
    }
    const ran = await hp(['doctor', '--json'], env)
    expect(ran.status).toBe(1)
    expect(bad(ran)).toEqual(['fail control-plane', 'fail tool-server'])
    expect((ran.json.findings as Finding[]).every(({ fix }) => fix !== undefined)).toBe(true)
  })

  test('no key at hand, or one that may not look: the other findings stand all the same', async () => {
    const none = await hp(['doctor', '--json'], {
      TOOL_SERVER_URL: world.toolServer.url,
      HOLDPOINT_TOKEN: world.secrets.approverToken,
      DATA_DIR: '/nowhere',
    })
    expect(bad(none)).toEqual(['fail control-plane'])
    const wrong = await world.run(['doctor', '--json'], { env: { HOLDPOINT_KEY: 'org_viewer_nobody' } })
    expect(bad(wrong)).toEqual(['fail control-plane', 'warn operator-file'])
  })

  test('a token that may not inspect', async () => {
    const ran = await world.run(['doctor', '--json'], { env: { HOLDPOINT_TOKEN: 'hpc_nobody' } })
    expect(bad(ran)).toEqual(['warn admins', 'warn operator-file', 'fail tool-server'])
  })

  test('a tool server of another org is no replica here: a stop would not reach it', async () => {
    await using other = await startWorld()
    const ran = await world.run(['doctor', '--json', '--tool-server', other.toolServer.url], {
      env: { HOLDPOINT_TOKEN: other.secrets.approverToken },
    })
    expect(bad(ran)).toEqual(['warn admins', 'warn operator-file', 'fail authority'])
  })
})
