import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { hasCurl } from '../fixtures/readme-programs.ts'
import { bare, commandLines } from './command-lines.ts'
import { PROJECT, readPage } from './markdown.ts'
import { ended } from './play.ts'
import { linesOf, startSession, type Session, type Step } from './session.ts'
import { createUserProject } from './user-project.ts'
import { ELSEWHERE, NOT_RUN } from './where-commands-run.ts'

/** Played below, whole. */
const HERE: readonly (readonly [file: string, heading: string])[] = [
  ['docs/cli.md', 'The command line'],
  ['docs/cli.md', 'Stop and restore'],
  ['docs/cli.md', 'Look'],
  ['docs/cli.md', 'Prove'],
  ['docs/cli.md', 'Who may'],
  ['docs/cli.md', 'Run'],
  ['docs/console.md', 'From a phone, at two in the morning'],
  ['docs/deploying.md', 'TLS'],
  ['docs/deploying.md', 'Metrics and alerts'],
  ['docs/deploying.md', 'The authority is unreachable'],
  ['docs/deploying.md', 'The key is refused'],
  ['docs/drill.md', 'The drill'],
  ['docs/gates.md', 'A process and a loop'],
  ['docs/operating.md', 'Stopping and restoring'],
  ['docs/operating.md', 'Why was it denied'],
  ['docs/operating.md', 'The audit'],
  ['docs/operating.md', 'Keys'],
  ['docs/operating.md', 'Runs that wait for a person'],
  ['docs/operating.md', 'Effects of which nobody knows'],
  ['docs/operating.md', 'Callers of the tool server'],
  ['docs/operating.md', 'Starting and ending'],
  ['docs/troubleshooting.md', 'Troubleshooting'],
  ['docs/troubleshooting.md', 'The cap is exceeded'],
]

/** Decisions are written down within 250 ms. */
const WAIT = { timeout: 15_000, interval: 250 }

const ALL = commandLines()
const canPlay = hasCurl('every command of the docs')
const hasOpenssl = spawnSync('openssl', ['version']).status === 0
const hasPromtool = spawnSync('promtool', ['--version']).status === 0
if (!hasOpenssl) console.warn('skipped: commands of the docs need openssl, which is not on this machine')
if (!hasPromtool) console.warn('skipped: commands of the docs need promtool, which is not on this machine')
for (const { file, commands, why } of NOT_RUN)
  console.warn(`not run: ${file}: ${commands.join(' | ')}: ${why}`)

const below = (where: { readonly file: string; readonly heading: string }) =>
  ALL.filter(({ file, heading }) => file === where.file && heading === where.heading)
const is = (line: string) => (command: string) =>
  command.endsWith('…') ? bare(line).startsWith(command.slice(0, -1)) : bare(line) === command

describe('every command of every page', () => {
  test('is played here or in a test that is named, or has a reason why not', () => {
    const without = ALL.filter(({ file, heading, line }) => {
      const isThere = (entry: { readonly file: string; readonly heading: string }) =>
        entry.file === file && entry.heading === heading
      const isNamed = ({ commands }: { readonly commands: readonly string[] | number }) =>
        typeof commands === 'number' || commands.some(is(line))
      return !(
        HERE.some((here) => here[0] === file && here[1] === heading) ||
        [...ELSEWHERE, ...NOT_RUN].some((entry) => isThere(entry) && isNamed(entry))
      )
    })
    expect(without).toEqual([])
    expect(ALL.length).toBeGreaterThan(150)
  })

  test('what is said of them is so: pages have them, tests name them, npm has the scripts', () => {
    const wrong = [
      ...HERE.filter(([file, heading]) => linesOf(file, heading).length === 0),
      ...[...ELSEWHERE, ...NOT_RUN].filter(({ commands, ...where }) =>
        typeof commands === 'number'
          ? below(where).length !== commands
          : commands.some((command) => !below(where).some(({ line }) => is(line)(command))),
      ),
      ...ELSEWHERE.filter((entry) => !read(entry.test).includes(entry.named)),
      ...NOT_RUN.flatMap(({ why }) => why.match(/test\/[\w/-]+\.ts/g) ?? []).filter(
        (name) => read(name) === '',
      ),
    ]
    expect(wrong).toEqual([])
    const { scripts } = JSON.parse(read('package.json')) as { readonly scripts: object }
    const started = ALL.flatMap(({ line }) => /npm run (?:-s )?([\w:-]+)/.exec(line)?.[1] ?? [])
    expect(started.filter((name) => !Object.hasOwn(scripts, name))).toEqual([])
  })
})

function read(file: string): string {
  return existsSync(join(PROJECT, file)) ? readFileSync(join(PROJECT, file), 'utf8') : ''
}

/** One after the other, as an operator's day: what one test leaves is there for the next. */
describe.skipIf(!canPlay)('played against what npm start runs', { timeout: 60_000 }, () => {
  let session: Session
  const PROD = 'openai-agent:prod:payments:01'
  const PAY = `curl -K data/caller.curl http://127.0.0.1:4200/tools/send_payment -d '{"arguments":{"invoiceId":"INV-1004","amountCents":31250}}'`
  beforeAll(async () => {
    session = await startSession()
    await session.say('holdpoint org plan pro')
    await session.say(`holdpoint devices register ${PROD} --label team=billing`)
  }, 60_000)
  afterAll(() => session.close(), 60_000)

  /** Calls a tool, and gives the request_id of the denial, once it is on record. */
  const denied = async (): Promise<string> => {
    const { out } = await session.shell(PAY)
    const { request_id: requestId } = JSON.parse(out) as { request_id: string }
    await vi.waitFor(async () => {
      const record = `http://127.0.0.1:4101/api/v1/decisions?request_id=${requestId}`
      await session.say(`curl -K data/operator.curl '${record}'`, { says: /DEVICE_REVOKED/ })
    }, WAIT)
    return requestId
  }
  /** Asks about the device of the pages, as its process would. */
  const deniedInProd = async () => {
    const { runtime } = JSON.parse(readFileSync(join(session.dataDir, 'tool-server.json'), 'utf8')) as {
      runtime: string
    }
    const validate =
      'curl http://127.0.0.1:4100/api/v1/devices/validate -H "x-org-key: $KEY" -H "content-type: application/json"'
    return session.shell(`${validate} -d '{"deviceId":"${PROD}"}'`, { KEY: runtime })
  }
  const REVOKE = 'holdpoint devices revoke openai-agent:dev:payments:01'
  const RESTORE = 'holdpoint devices restore openai-agent:dev:payments:01'
  const UUID = /\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/

  test('docs/cli.md: the command line', async () => {
    const steps = { 'holdpoint devices ls': { says: /payments:01/ }, 'npm run': { says: /payments:01/ } }
    await session.playSection('docs/cli.md', 'The command line', steps)
  })

  test('docs/cli.md: stop and restore', async () => {
    await session.playSection('docs/cli.md', 'Stop and restore', {
      'holdpoint panic --reason': { says: /STOPPED EVERYTHING/ },
      'holdpoint panic --surface': { says: /Acked/ },
      'holdpoint devices revoke --pattern': { says: /prod:payments:01/ },
      'holdpoint devices revoke --label': { says: /prod:payments:01/ },
      'holdpoint org enable --if-epoch 12': {
        as: async (line) => line.replace('12', String(await orgEpoch())),
      },
    })
    await session.say('holdpoint surface restore payments')
    await session.say('holdpoint status', { says: /allowed/i })
  })

  test('docs/cli.md: look', async () => {
    await session.say(`holdpoint devices revoke ${PROD}`)
    await session.say(REVOKE)
    const requestId = await denied()
    for (const runId of ['run-1', 'run-2']) {
      const input = `{"agent":"accounts-assistant","runId":"${runId}","input":"Pay INV-1001"}`
      await session.say(RESTORE)
      await session.say(`curl -K data/caller.curl http://127.0.0.1:4200/runs -d '${input}'`)
      await session.say(REVOKE)
    }
    const stopId = async () => {
      const { stops } = (await session.json('holdpoint stops ls')) as { stops: { epoch: number }[] }
      return String(stops[0]?.epoch)
    }
    await session.playSection('docs/cli.md', 'Look', {
      'holdpoint status': { says: /payments:01/ },
      'holdpoint tail --denied': {
        status: 130,
        until: (printed) => shown(printed, /DEVICE_REVOKED/, denied),
      },
      'holdpoint tail --device': {
        status: 130,
        until: (printed) => shown(printed, /DEVICE_REVOKED/, deniedInProd),
      },
      'holdpoint explain': { as: (line) => line.replace(UUID, requestId), says: /DEVICE_REVOKED/ },
      'holdpoint stops show': { as: async (line) => line.replace('12', await stopId()) },
      'holdpoint stops restore': { as: async (line) => line.replace('12', await stopId()) },
      'holdpoint runs ls': { says: /run-1/ },
      'holdpoint runs approve': {
        as: async (line) => {
          const said = JSON.stringify(await session.json('holdpoint runs show run-1'))
          return line.replace('call_1', /"callId":"([^"]+)"/.exec(said)?.[1] ?? '')
        },
      },
      'holdpoint runs decline': { as: (line) => line.replace('run-1', 'run-2') },
      'holdpoint runs resume': { says: /completed|paid/ },
    })
  })

  test('docs/drill.md: each of its drills holds', async () => {
    const ids = () => readdirSync(join(session.dataDir, 'drills'))
    const short = { as: (line: string) => `${bare(line)} --for 1 --no-cut` }
    const withId = { as: (line: string) => line.replace('ID', ids()[0] ?? '') }
    await session.playSection('docs/drill.md', 'The drill', {
      'holdpoint drill': short,
      'holdpoint drill --dry-run': {},
      'holdpoint drill verify': withId,
      'holdpoint drill ls': {},
      'holdpoint drill show': withId,
    })
  })

  test('docs/cli.md: prove', async () => {
    await session.playSection('docs/cli.md', 'Prove', {
      'holdpoint drill': { as: () => 'holdpoint drill --for 1' },
      // With what npm start is for: keys beside the tools, plain http.
      'holdpoint doctor --strict': { status: 1, says: /warn/i },
    })
  })

  const keyId = async () => (readFileSync(join(session.dir, 'agents.key'), 'utf8').split('_')[2] ?? '').trim()
  const ownKey = { as: async (line: string) => line.replace('gdgxl7bgui3tvnyk', await keyId()) }
  test('docs/cli.md: who may', async () => {
    await session.playSection('docs/cli.md', 'Who may', {
      'holdpoint keys rotate': ownKey,
      'holdpoint keys burn': ownKey,
      'holdpoint callers ls': { says: /billing/ },
      'holdpoint callers rm': {
        as: (line) => {
          const { callers } = JSON.parse(readFileSync(join(session.dir, 'callers.json'), 'utf8')) as {
            callers: { id: string }[]
          }
          return line.replace('caller_0123456789abcdef', callers[0]?.id ?? '')
        },
      },
    })
  })

  test('docs/console.md and docs/deploying.md: panic, doctor, keys', async () => {
    await session.playSection('docs/console.md', 'From a phone, at two in the morning', {
      'holdpoint panic': { as: (line) => `${line} --reason "at night"`, says: /STOPPED EVERYTHING/ },
    })
    await session.say('holdpoint org enable')
    // What a stop has cut short was the last that the tool server asked: it has to ask again before it is well.
    await session.say(PAY)
    await session.playSection('docs/deploying.md', 'The authority is unreachable')
    await session.playSection('docs/deploying.md', 'The key is refused')
  })

  test('docs/operating.md: stopping and restoring', async () => {
    const epochOf = async (path: string) => {
      const out = await session.say(`curl -K data/admin.curl http://127.0.0.1:4101/api/v1/${path}`)
      return JSON.parse(out) as { devices: { deviceId: string; epoch: number }[] }
    }
    await session.playSection('docs/operating.md', 'Stopping and restoring', {
      'curl -K data/operator.curl http://127.0.0.1:4101/api/v1/devices/unrevoke': {
        as: async (line) => {
          const { devices } = await epochOf('devices/list')
          const device = devices.find(({ deviceId }) => deviceId === 'openai-agent:dev:payments:01')
          return line.replace('"ifEpoch":1', `"ifEpoch":${device?.epoch}`)
        },
      },
      'curl -K data/admin.curl http://127.0.0.1:4101/api/v1/org/enable': {
        as: async (line) => line.replace('"ifEpoch":3', `"ifEpoch":${await orgEpoch()}`),
      },
    })
    await session.say("holdpoint lock release 'openai-agent:dev:payments:*'")
  })

  test('docs/operating.md: why was it denied', async () => {
    await session.say(REVOKE)
    const requestId = await denied()
    await session.playSection('docs/operating.md', 'Why was it denied', {
      "curl -K data/operator.curl 'http": {
        as: (line) => line.replace('=ID', `=${requestId}`),
        says: /DEVICE_REVOKED/,
      },
      // It goes on until Ctrl-C: here, until nobody reads on.
      'curl -K data/operator.curl -N': {
        as: (line) => {
          const meanwhile = `for _ in $(seq 40); do sleep 0.3; ${PAY} > again 2>&1; done`
          return `(${meanwhile}) & ${line} --silent --max-time 15 | grep --max-count 1 DEVICE_REVOKED; kill $!`
        },
        says: /DEVICE_REVOKED/,
      },
    })
    await session.say(RESTORE)
  })

  test('docs/operating.md: the audit', async () => {
    await session.playSection('docs/operating.md', 'The audit')
  })

  test('docs/operating.md: keys', async () => {
    let made = ''
    const own = {
      as: async (line: string) => {
        const out = await session.say('curl -K data/admin.curl http://127.0.0.1:4101/api/v1/org/keys')
        const { keys } = JSON.parse(out) as { keys: { keyId: string; name: string | null }[] }
        made ||= keys.find(({ name }) => name === 'billing')?.keyId ?? ''
        return line.replace('/ID/', `/${made}/`)
      },
    }
    await session.playSection('docs/operating.md', 'Keys', {
      'curl -K data/admin.curl http://127.0.0.1:4101/api/v1/org/keys/ID/rotate': own,
      'curl -K data/admin.curl http://127.0.0.1:4101/api/v1/org/keys/ID/burn': own,
    })
  })

  test('docs/operating.md: runs that wait for a person', async () => {
    await session.playSection('docs/operating.md', 'Runs that wait for a person', {
      'curl -K data/approver.curl http://127.0.0.1:4200/runs/june-1/decisions': {
        as: async (line) => {
          const out = await session.say('curl -K data/approver.curl http://127.0.0.1:4200/runs/june-1')
          const [, callId = ''] = /"callId":"([^"]+)"/.exec(out) ?? []
          const [, digest = ''] = /"digest":"([^"]+)"/.exec(out) ?? []
          return line.replace('CALL', callId).replace('DIGEST', digest)
        },
      },
      'curl -K data/caller.curl http://127.0.0.1:4200/runs/june-1/resume': { says: /"completed"/ },
    })
  })

  test('docs/operating.md: effects of which nobody knows: the sink is asked, or a person says what it was', async () => {
    outcomesLost('june-1', 'run-1')
    const of = (runId: string): Step => ({
      as: async (line) => {
        const run = await session.say(`curl -K data/approver.curl http://127.0.0.1:4200/runs/${runId}`)
        return line.replace('/ID/', `/${/"(hp_[0-9a-f]{40})"/.exec(run)?.[1]}/`)
      },
      says: /"done"/,
    })
    await session.playSection('docs/operating.md', 'Effects of which nobody knows', {
      "curl -K data/approver.curl 'http://127.0.0.1:4200/runs?outcome=unknown'": { says: /"june-1"/ },
      'curl -K data/approver.curl http://127.0.0.1:4200/effects/ID/reconcile': of('june-1'),
      'curl -K data/approver.curl http://127.0.0.1:4200/effects/ID/settle': of('run-1'),
    })
  })

  /** The payments of these runs, as a process leaves them that died before the bank answered. */
  function outcomesLost(...runIds: readonly string[]): void {
    const journal = new DatabaseSync(join(session.dataDir, 'journal.sqlite'))
    try {
      const lose = journal.prepare(
        "UPDATE effect_journal SET state = 'unknown', result = NULL WHERE run_id = ?",
      )
      expect(runIds.map((runId) => lose.run(runId).changes)).toEqual(runIds.map(() => 1))
    } finally {
      journal.close()
    }
  }

  test.skipIf(!hasOpenssl)('docs/operating.md: a token by hand, and its digest', async () => {
    const { out, status } = await session.shell(
      linesOf('docs/operating.md', 'Callers of the tool server').join('\n'),
    )
    const [token = '', digest] = out.split('\n')
    expect([status, token]).toEqual([0, expect.stringMatching(/^hpc_[\w-]{43}$/)])
    expect(digest).toBe(createHash('sha256').update(token).digest('hex'))
  })

  test('docs/troubleshooting.md: look, and make room', async () => {
    await session.say(REVOKE)
    const requestId = await denied()
    await session.say(RESTORE)
    await session.playSection('docs/troubleshooting.md', 'Troubleshooting', {
      'holdpoint explain 01a': { as: (line) => line.replace(UUID, requestId), says: /DEVICE_REVOKED/ },
      'holdpoint explain local': { says: /VALIDATE_TIMEOUT_MS/ },
    })
    await session.playSection('docs/troubleshooting.md', 'The cap is exceeded')
    await session.say('holdpoint devices register openai-agent:dev:email:01 --restore-removed')
  })

  test('docs/gates.md: its program charges the orders', async () => {
    const page = readPage('docs/gates.md', read('docs/gates.md'))
    const program = page.blocks.find(({ text }) => text.includes('charge-orders'))?.text ?? ''
    using project = createUserProject()
    const world = `const orders = [{ id: 'o-1', cents: 500 }]
const bank = { charge: async (cents) => (console.log('charged', cents), 'receipt') }
const fetch = async () => new Response()
`
    project.write('worker.js', world + stripTypeScriptTypes(program))
    const [line = ''] = linesOf('docs/gates.md', 'A process and a loop')
    const here = line.replace('data/tool-server.json', join(session.dataDir, 'tool-server.json'))
    const { status, out, err } = await session.shell(
      `cd ${project.dir}; ${here.replace(' node ', ` "${process.execPath}" `)}`,
      {
        NODE_OPTIONS: '--conditions=holdpoint-source',
        DATA_DIR: join(project.dir, 'data'),
      },
    )
    expect([status, out], err).toEqual([0, expect.stringContaining('charged 500')])
    expect(linesOf('docs/gates.md', 'A process and a loop')).toHaveLength(1)
  })

  test('docs/cli.md and docs/operating.md: each program starts, and ends by SIGTERM with 0; backup and restore', async () => {
    const lines = linesOf('docs/cli.md', 'Run').map(bare)
    const programs = linesOf('docs/operating.md', 'Starting and ending').map(bare)
    expect(lines.filter((line) => programs.includes(line))).toEqual(programs)
    const dataDir = join(session.dir, 'run')
    mkdirSync(dataDir)
    const ports = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
    const start = async (line: string, ready: RegExp, own: Record<string, string>): Promise<void> => {
      const child = spawn(
        process.execPath,
        ['--conditions=holdpoint-source', join(PROJECT, 'src/main.ts'), ...line.split(' ').slice(1)],
        { cwd: session.dir, env: { PATH: process.env['PATH'], DATA_DIR: dataDir, ...ports, ...own } },
      )
      let printed = ''
      child.stdout.on('data', (text: Buffer) => {
        printed += text.toString()
        if (ready.test(printed) && !child.killed) child.kill('SIGTERM')
      })
      const { status, err } = await ended(child)
      expect([line, status, err]).toEqual([line, 0, expect.any(String)])
      expect(printed).toMatch(ready)
    }
    const { controlPlaneUrl } = session
    for (const line of lines) {
      if (line === 'holdpoint start') await start(line, /npm run demo/, {})
      else if (line === 'holdpoint control-plane') await start(line, /listening/, {})
      else if (line === 'holdpoint tool-server') {
        await start(line, /listening/, {
          MACHINEID_BASE_URL: controlPlaneUrl,
          MACHINEID_ORG_KEY_FILE: join(session.dataDir, 'tool-server.json'),
        })
      } else if (/backup/.test(line)) {
        const done = await session.onFiles(line.split(' ').slice(1), { DATA_DIR: dataDir })
        expect([line, done.status, done.err]).toEqual([line, 0, expect.any(String)])
      } else {
        const script = await session.say(line)
        writeFileSync(join(session.dir, 'completion'), script)
        expect((await session.shell('bash -n completion')).status).toBe(0)
      }
    }
  })

  const MAKE = 'deploy/tls/make-certs.sh'
  test.skipIf(!hasOpenssl)('docs/deploying.md: certificates', async () => {
    const certificates = linesOf('docs/deploying.md', 'Kubernetes').filter((line) => line.startsWith(MAKE))
    expect(certificates).toHaveLength(1)
    for (const line of [...linesOf('docs/deploying.md', 'TLS'), ...certificates]) {
      const { status, err } = await session.shell(line.replace('deploy/tls', join(PROJECT, 'deploy/tls')))
      expect([status, err]).toEqual([0, expect.any(String)])
    }
    expect(existsSync(join(session.dir, 'certs/control-plane.pem'))).toBe(true)
  })

  test.skipIf(!hasPromtool)('docs/deploying.md: the rules for alerts', async () => {
    for (const line of linesOf('docs/deploying.md', 'Metrics and alerts')) {
      const { status, out } = await session.shell(`cd ${PROJECT}; ${line}`)
      expect([line, status, out]).toEqual([line, 0, expect.any(String)])
    }
  })

  async function orgEpoch(): Promise<number> {
    const out = await session.say('curl -K data/admin.curl http://127.0.0.1:4101/api/v1/usage')
    return (JSON.parse(out) as { org: { epoch: number } }).org.epoch
  }

  async function shown(printed: () => string, wanted: RegExp, again: () => Promise<unknown>): Promise<void> {
    await vi.waitFor(async () => {
      await again()
      expect(printed()).toMatch(wanted)
    }, WAIT)
  }
})
