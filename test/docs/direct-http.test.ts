import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { operatorFiles, PLATFORM_TOKEN } from '../cli/run.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { pythonProblem } from '../fixtures/machineid-clients/python.ts'
import { httpAnswer, startRawServer } from '../fixtures/raw-server.ts'
import { hasCurl } from '../fixtures/readme-programs.ts'
import { BODY_ROWS } from '../machineid/bad-answers/body-rows.ts'
import { CONTENT_ROWS } from '../machineid/bad-answers/content-rows.ts'
import { HEAD_ROWS } from '../machineid/bad-answers/head-rows.ts'
import { goodAnswer, SHORT_BUDGET_MS, type Row } from '../machineid/bad-answers/row.ts'
import { TRANSPORT_ROWS } from '../machineid/bad-answers/transport-rows.ts'
import { PROJECT, readPage } from './markdown.ts'
import { player, said, type Play } from './play.ts'

const FILE = 'docs/direct-http.md'
const { blocks } = readPage(FILE, readFileSync(join(PROJECT, FILE), 'utf8'))
const [setUp = '', wire = '', start = '', stopAndRestore = ''] = textsIn('sh')
const [client = '', worker = ''] = textsIn('python')

const noPython = await pythonProblem('http.client')
if (noPython !== undefined) console.warn(`skipped: ${FILE} is not played, ${noPython}`)
const canPlay = noPython === undefined && hasCurl(FILE)

let dir: string
let authority: TestControlPlane
let play: Play
beforeAll(async () => {
  authority = await startTestControlPlane({ plan: 'free', platformToken: PLATFORM_TOKEN })
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-direct-http-'))
  symlinkSync(operatorFiles(authority), join(dir, 'data'))
  play = player({ dir, authority, urls: { 'http://127.0.0.1:4100': authority.url } })
  writeFileSync(join(dir, 'hold_point.py'), client)
  writeFileSync(join(dir, 'worker.py'), worker)
})
afterAll(async () => {
  await authority.close()
  rmSync(dir, { recursive: true, force: true })
})

describe.skipIf(!canPlay)(`${FILE}, played against a control plane`, () => {
  test('its commands give a key and a slot, and curl registers and is allowed', async () => {
    expect(await play(setUp)).toHaveLength(3)
    const [registered, validated, batch] = (await play(wire)).map((text) => JSON.parse(text) as Said)
    expect(registered).toMatchObject({ status: 'ok', deviceId: 'worker:dev:queue-consumer:01' })
    expect(validated).toMatchObject({ allowed: true, code: 'ALLOW' })
    expect(batch).toMatchObject({ nonce: '0123456789abcdef', decisions: [{ allowed: true, code: 'ALLOW' }] })
  })

  test('its worker pays; revoked, it begins and does not pay; restored, it goes on; without an authority, it stops', async () => {
    const [stop = '', status = '', restore = ''] = stopAndRestore.trim().split('\n')
    const first = startWorker()
    expect(await first.say('job-1')).toEqual(['began job-1', 'paid job-1'])
    await play(stop)
    expect((await play(status)).join()).toContain('worker:dev:payments:01')
    expect(await first.say('job-2')).toEqual([
      'began job-2',
      expect.stringMatching(/^denied: DEVICE_REVOKED \(request [0-9a-f-]{36}\)$/),
    ])
    expect(await first.ended).toBe(1)

    await play(restore)
    const second = startWorker()
    expect(await second.say('job-2')).toEqual(['began job-2', 'paid job-2'])
    await authority.kill()
    expect(await second.say('job-3', 1)).toEqual(['denied: AUTHORITY_UNREACHABLE (request none)'])
    expect(await second.ended).toBe(1)
  }, 60_000)
})

describe.skipIf(noPython !== undefined)("the page's Python client", () => {
  const closing: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })

  test('G4: denies every row of the list of bad answers, and never begins the body', async () => {
    let armed: Row | undefined
    let previous: Buffer = Buffer.alloc(0)
    const server = await startRawServer(
      (request, socket) => {
        const row = ROWS[Number(/^\/row\/(\d+)\//.exec(request.path)?.[1])]
        const good = goodAnswer('holdpoint', request)
        if (row === undefined) return void socket.end()
        if (armed === row) return row.serve?.({ good, socket, previous })
        armed = row
        previous = httpAnswer(good.text, { headers: { connection: 'close' } })
        socket.end(previous)
      },
      {
        onConnection: (socket) => {
          // Armed with it, and nothing asked about the next row yet: this connection is its question.
          const now = connections++ % 2 === 0 ? undefined : armed
          now?.onConnection?.(socket)
          return now?.onConnection !== undefined
        },
      },
    )
    let connections = 0
    closing.push(() => server.close())
    writeFileSync(join(dir, 'rows.py'), DRIVER)
    const budgets = ROWS.map(({ code }) =>
      [code].flat().includes('AUTHORITY_TIMEOUT') ? SHORT_BUDGET_MS / 1000 : 2,
    )
    const printed = await python(['rows.py', server.url, JSON.stringify(budgets)])
    const told = printed.trim().split('\n')
    expect(told).toHaveLength(ROWS.length)
    const wrong = ROWS.flatMap(({ no, name, code }, index) =>
      fits([code].flat(), told[index] ?? '') ? [] : [`${no} ${name}: ${told[index]}`],
    )
    expect(wrong).toEqual([])
  }, 60_000)
})

/** 28 is of JavaScript alone: a prototype that was tampered with. */
const ROWS = [...CONTENT_ROWS, ...HEAD_ROWS, ...BODY_ROWS, ...TRANSPORT_ROWS].filter(
  ({ no, profiles = ['holdpoint'] }) => no !== 28 && profiles.includes('holdpoint'),
)

/** The page's client has fewer words for an answer that is no HTTP or was cut. */
function fits(codes: readonly string[], told: string): boolean {
  const code = told.replace('denied ', '')
  return codes.includes(code) || COARSER.some(([ours, its]) => codes.includes(ours) && its.includes(code))
}
const COARSER: readonly (readonly [string, readonly string[]])[] = [
  ['AUTHORITY_TRUNCATED', ['AUTHORITY_UNREACHABLE', 'AUTHORITY_BAD_BODY']],
  // Python gives 101 and 103 as the answer's status.
  ['AUTHORITY_TIMEOUT', ['AUTHORITY_BAD_STATUS']],
  ['AUTHORITY_UNREACHABLE', ['AUTHORITY_BAD_STATUS', 'AUTHORITY_BAD_BODY']],
]

const DRIVER = `import json, sys
from hold_point import Denied, HoldPoint
for row, budget in enumerate(json.loads(sys.argv[2])):
    guard = HoldPoint(f"{sys.argv[1]}/row/{row}", "org_test", "openai-agent:prod:tool-server:01", budget_seconds=budget)
    guard.run("task", lambda: None)
    try:
        guard.run("task", lambda: print("BEGAN", end=" "))
        print("allowed", flush=True)
    except Denied as denied:
        print("denied", denied.code, flush=True)
`

interface Said {
  readonly [name: string]: unknown
}

function textsIn(language: string): readonly string[] {
  return blocks.filter((block) => block.language === language).map(({ text }) => text)
}

function python(args: readonly string[]): Promise<string> {
  return said(execFile('python3', [...args], { cwd: dir, maxBuffer: 1 << 24 }), args[0] ?? '')
}

/** As the page starts it, in a shell. */
function startWorker() {
  const here = start.replaceAll('http://127.0.0.1:4100', authority.url)
  const child = spawn('sh', ['-e', '-c', here], { cwd: dir, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const say = async (job: string, count = 2): Promise<string[]> => {
    child.stdin.write(`${job}\n`)
    const printed: string[] = []
    while (printed.length < count) {
      const { value, done } = await lines.next()
      if (done === true) break
      printed.push(value)
    }
    return printed
  }
  return { say, ended }
}
