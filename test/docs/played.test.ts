import { mkdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { deviceIdProblem } from '../../src/guard/device.ts'
import { PLAN_LIMITS } from '../../src/machineid/wire.ts'
import { spawnProgram } from '../../src/programs/supervisor.ts'
import { hasCurl } from '../fixtures/readme-programs.ts'
import { PROJECT, readPage } from './markdown.ts'
import { player, type Play } from './play.ts'
import { startWorld, type World } from './world.ts'

const canPlay = hasCurl('pages whose commands are played')

let world: World
let play: Play
beforeAll(async () => {
  world = await startWorld()
  play = player(world)
}, 60_000)
afterAll(() => world.close(), 60_000)

/** The blocks for the shell of a page in docs/. */
function commandsOf(name: string): readonly string[] {
  const { blocks } = page(name)
  return blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
}

function page(name: string) {
  return readPage(`docs/${name}`, readFileSync(join(PROJECT, 'docs', name), 'utf8'))
}

/** What a call of a tool was answered, as far as it matters here. */
function told(printed: string | undefined): unknown {
  const { error, code, output } = JSON.parse(printed ?? '') as Record<string, unknown>
  return code ?? error ?? (typeof output === 'string' ? 'done' : printed)
}

describe.skipIf(!canPlay)('commands of the docs, played against what npm start runs', () => {
  test("docs/adopting.md's test plan: revoke and restore a surface, disable and enable the org", async () => {
    const [revoke = '', disable = '', prove = ''] = commandsOf('adopting.md')
    const [, denied, other, , paid] = await play(revoke)
    expect([denied, other, paid].map(told)).toEqual(['DEVICE_REVOKED', 'done', 'done'])
    const [, stopped] = await play(disable)
    expect(told(stopped)).toBe('ORG_DISABLED')
    // The drill takes its time, and has tests of its own.
    const [drill, doctor = ''] = prove.trim().split('\n')
    expect(drill).toBe('npx holdpoint drill')
    expect((await play(doctor)).join()).not.toMatch(/^fail/im)
  }, 60_000)

  test("the README's five minutes: the program at its top refunds, is stopped, and is restored", async () => {
    const readme = readPage('README.md', readFileSync(join(PROJECT, 'README.md'), 'utf8'))
    const five = readme.blocks.find(
      ({ language, text }) => language === 'sh' && text.includes('guard-one-tool'),
    )
    const [settings = '', ...lines] = (five?.text ?? '').trim().split('\n')
    expect(settings).toMatch(/^export /)
    const here = settings
      .replace('http://127.0.0.1:4100', world.controlPlaneUrl)
      .replace('data/', `${world.dataDir}/`)
    const said: string[] = []
    for (const line of lines) {
      const isExample = line.startsWith('npx node')
      const example = line.replace('npx node', process.execPath).split('#')[0]
      // It says in one line that nothing was refunded, and ends with 1.
      const own = `${here} DATA_DIR=${world.dir}/five VALIDATE_TIMEOUT_MS=3000; cd ${PROJECT}; ${example} || true`
      said.push(...(await play(isExample ? own : line)))
    }
    const [refunded, , denied] = said
    expect(refunded).toContain('Refunds: 1.')
    expect(denied).toContain('"code":"DEVICE_REVOKED"')
    expect(said).toHaveLength(4)
  }, 60_000)

  test("docs/hosted-mcp.md's server answers POST /mcp under its public name, to its caller alone", async () => {
    const [create = '', settings = '', start] = (commandsOf('hosted-mcp.md')[0] ?? '').trim().split('\n')
    await play(create)
    const env = Object.fromEntries(
      [...settings.matchAll(/([A-Z_]+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
    )
    expect(start).toBe('npx holdpoint tool-server')
    const dataDir = join(world.dir, 'mcp')
    mkdirSync(dataDir)
    const server = await spawnProgram({
      program: 'tool-server',
      logDir: dataDir,
      env: {
        PATH: process.env['PATH'],
        ...env,
        CALLER_TOKENS_FILE: join(world.dir, env['CALLER_TOKENS_FILE'] ?? ''),
        DATA_DIR: dataDir,
        TOOL_SERVER_PORT: '0',
        MACHINEID_BASE_URL: world.controlPlaneUrl,
        MACHINEID_ORG_KEY_FILE: join(world.dataDir, 'tool-server.json'),
        VALIDATE_TIMEOUT_MS: '3000',
      },
    })
    onTestFinished(() => server.stop())
    const token = readFileSync(join(world.dir, 'openai.token'), 'utf8').trim()
    const pay = { name: 'send_payment', arguments: { invoiceId: 'INV-1005', amountCents: 7600 } }
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: pay }
    const ask = (host: string, authorization: string) => post(server.url, { host, authorization }, call)
    expect(await ask('tools.example.com', `Bearer ${token}`)).toMatchObject([200, /"isError":false/])
    // No call id came, so this is another call: only the business key keeps it from being another payment.
    expect(await ask('tools.example.com', `Bearer ${token}`)).toMatchObject([200, /replayed":true/])
    expect(await ask('tools.example.com', 'Bearer hpc_of_somebody_else')).toMatchObject([401, /./])
    expect(await ask('elsewhere.example.com', `Bearer ${token}`)).toMatchObject([403, /HOST_NOT_ALLOWED/])
  }, 60_000)

  test('docs/device-model.md: its plan can be set', async () => {
    await play(commandsOf('device-model.md').join(''))
    expect((await play('npx holdpoint org usage')).join()).toContain('4000')
  }, 60_000)
})

describe('the device lists of docs/device-model.md', () => {
  const TIERS = [
    ['3 devices', PLAN_LIMITS.free],
    ['25 devices', PLAN_LIMITS.pro],
    ['250 devices', PLAN_LIMITS.scale],
    ['1,000 devices, and more', PLAN_LIMITS.max],
  ] as const
  test.each(TIERS)('%s: each fits its plan exactly, without an ID twice', (heading, limit) => {
    const section = page('device-model.md').text.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
    const tables = section.split(/^\| devices .*\n\|[ :|-]+\|\n/m).slice(1)
    expect(tables.length).toBeGreaterThan(0)
    for (const table of tables) {
      const rows = [...table.matchAll(/^\| `([\w:-]+)`(?: … `:(\d+)`)? +\| +(\d+) \|/gm)]
      const ids = rows.flatMap(([, first = '', last, count]) => {
        const expanded = idsFrom(first, last)
        expect([first, expanded.length]).toEqual([first, Number(count)])
        return expanded
      })
      expect(ids.flatMap((id) => deviceIdProblem(id) ?? [])).toEqual([])
      expect([ids.length, new Set(ids).size]).toEqual([limit, limit])
    }
  })
})

/** `a:b:c:01` to `:10`. */
function idsFrom(first: string, last: string | undefined): readonly string[] {
  if (last === undefined) return [first]
  const at = first.lastIndexOf(':') + 1
  const from = Number(first.slice(at))
  return Array.from(
    { length: Number(last) - from + 1 },
    (_, index) => first.slice(0, at) + String(from + index).padStart(last.length, '0'),
  )
}

/** Status and text; `fetch` would not send another Host. */
function post(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: object,
): Promise<[number | undefined, string]> {
  return new Promise((resolve, reject) => {
    const accept = 'application/json, text/event-stream'
    const options = { method: 'POST', headers: { ...headers, accept, 'content-type': 'application/json' } }
    const sent = request(`${url}/mcp`, options, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => resolve([response.statusCode, text]))
    })
    sent.on('error', reject).end(JSON.stringify(body))
  })
}
