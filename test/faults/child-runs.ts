// A tool server with hosted runs, as a process of its own that kills itself where it is told to.
import { appendFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'

import type { CrashPoint } from '../../src/guard/crash-points.ts'
import { createGuard } from '../../src/guard/guard.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { createPostgresToolStore } from '../../src/store/postgres/tool-store.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { callersOf } from '../../src/tool-server/callers.ts'
import { createToolServer } from '../../src/tool-server/tool-server.ts'
import { payingAgent } from './crash-agent.ts'
import {
  DATABASE,
  CRASHES,
  type ChildSettings,
  type Crash,
  type FromChild,
  type ToChild,
} from './crash-wire.ts'

const settings = JSON.parse(process.argv[2] as string) as ChildSettings
const log = createLogger({ level: 'fatal' })

let armed: Crash | undefined
let reached: Partial<Record<CrashPoint, number>> = {}

const atCrashPoint = (point: CrashPoint) => {
  const times = (reached[point] ?? 0) + 1
  reached[point] = times
  if (armed?.point !== point || armed.nth !== times) return
  appendFileSync(join(settings.dir, CRASHES), `${point}\n`)
  process.kill(process.pid, armed.signal)
}

const tell = (message: FromChild) => process.send?.(message)

process.on('message', (message: ToChild) => {
  if (message.type === 'count') return void tell({ type: 'counted', reached, inFlight: guard.inFlight })
  armed = message.crash
  reached = {}
  tell({ type: 'armed' })
})
process.on('disconnect', () => process.exit())

const nowMs = () => Date.now() + settings.clockAheadMs
const { databaseUrl } = settings
const store =
  databaseUrl === undefined
    ? createSqliteToolStore({ file: join(settings.dir, DATABASE), nowMs, atCrashPoint })
    : await createPostgresToolStore({ url: databaseUrl, poolSize: 10, timeoutMs: 5000, nowMs, atCrashPoint })
const guard = createGuard({
  authority: new MachineID({ orgKey: settings.orgKey, baseUrl: settings.authorityUrl, timeoutMs: 3000 }),
  serverDeviceId: 'openai-agent:test:tool-server:01',
  surfaces: ['payments', 'email'],
  timeoutMs: 3000,
  journal: store.journal,
  log,
  atCrashPoint,
})
const started = await guard.start()
if (!started.allowed) throw new Error(`The guard was not started: ${started.code}`)

const server = createToolServer({
  guard,
  tools: [],
  agents: [{ agent: payingAgent(guard, settings.sinksUrl) }],
  runs: { store: store.runs, stateKeys: [Buffer.from(settings.stateKeyHex, 'hex')], nowMs },
  callers: callersOf(settings.callers),
})
const { url } = await server.listen({ port: 0 })
tell({ type: 'ready', url })
// A process that is killed leaves no compiled code to the next one.
if (settings.clockAheadMs === 0) flushCompileCache()
