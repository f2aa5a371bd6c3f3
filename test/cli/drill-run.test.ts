import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'

import { verifyDrill } from '../../src/machineid/drill-signature.ts'
import { DrillResponse, DrillRunResponse } from '../../src/machineid/wire-drills.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { createDrillRunner, type DrillRunnerOptions } from '../../src/programs/drill-runner.ts'
import { createCallerToken } from '../../src/tool-server/callers.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { temporaryDirectory } from '../fixtures/program.ts'
import { DEVICE, startToolServer, type RunningToolServer } from './drill-world.ts'

// A drill that the control plane starts by itself: `holdpoint drill` as a process, on a real tool server.

const TOKEN = createCallerToken({ name: 'drills', scopes: ['runs:approve'] })

let authority: TestControlPlane
let toolServer: RunningToolServer
let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let token: DrillRunnerOptions['token'] = { value: TOKEN.token }

beforeAll(async () => {
  directory = await temporaryDirectory()
  const runner = () =>
    createDrillRunner({
      orgId: authority.orgId,
      toolServerUrls: [toolServer.url],
      token,
      dataDir: directory.path,
    })
  authority = await startTestLanes({
    drillRunner: {
      get orgId() {
        return authority.orgId
      },
      run: (drill) => runner().run(drill),
    },
  })
  toolServer = await startToolServer({ authority, instance: '01', token: TOKEN })
}, 30_000)
afterAll(async () => {
  await toolServer.close()
  await authority.close()
  await directory[Symbol.asyncDispose]()
})

const look = async () =>
  DrillRunResponse.parse((await authority.get(PATHS.drillRun, authority.keys.viewer)).body).run
async function start(body: unknown): Promise<void> {
  const answer = await authority.post(PATHS.drillRun, body, authority.keys.operator)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}
async function ended() {
  await expect.poll(async () => (await look()).state, { timeout: 50_000, interval: 100 }).not.toBe('running')
  return look()
}
const devices = async () =>
  (await authority.get(PATHS.list, authority.keys.viewer)).body.devices as {
    deviceId: string
    revoked: boolean
  }[]

test('it holds, is signed and kept, told line by line, and leaves everything as it was', async () => {
  await start({ forSeconds: 1, callsPerSecond: 40, cut: false })
  const run = await ended()

  expect(run.state, run.lines.join('\n')).toBe('held')
  expect(run.lines[0]).toContain(`Drill ${run.drillId}: ${DEVICE('canary', '01')}`)
  expect(run.lines.join('\n')).toMatch(/stop.*\n(?:.*\n)*.*restore/)
  const path = PATHS.drill.replace(':id', run.drillId ?? '')
  const { drill } = DrillResponse.parse((await authority.get(path, authority.keys.viewer)).body)
  expect(verifyDrill(drill).problem).toBeUndefined()
  expect(drill.report.steps.map(({ name }) => name)).toEqual(['baseline', 'stop', 'restore'])
  expect((await devices()).map(({ deviceId, revoked }) => [deviceId, revoked])).toEqual([
    [DEVICE('payments', '01'), false],
    [DEVICE('tool-server', '01'), false],
  ])
  const kept = join(directory.path, 'drill-runs', 'drills', run.drillId ?? '')
  expect(await readdir(kept)).toEqual(['latency.svg', 'report.json', 'report.md'])
  expect(await readFile(join(kept, 'report.json'), 'utf8')).not.toMatch(/org_operator_|hpc_/)
}, 60_000)

test('a surface that is named like an option is a surface; what went wrong stands in the last lines', async () => {
  await start({ surface: '--org', forSeconds: 1 })
  const run = await ended()

  expect(run).toMatchObject({ state: 'failed', drillId: null })
  expect(run.lines.join('\n')).toContain('No tool server has a surface "--org"')
}, 60_000)

test('nothing of our environment reaches it', async () => {
  vi.stubEnv('NODE_OPTIONS', '--import=data:text/javascript,process.stderr.write("leaked\\n")')
  onTestFinished(() => void vi.unstubAllEnvs())
  await start({ surface: 'none', forSeconds: 1 })
  const { lines } = await ended()
  expect(lines.join('\n')).toContain('No tool server has a surface "none"')
  expect(lines.join('\n')).not.toContain('leaked')
}, 60_000)

test('a token that the tool server does not know is no stop that did not hold', async () => {
  token = { value: 'hpc_unknown' }
  await start({ forSeconds: 1 })
  const run = await ended()
  expect(run).toMatchObject({ state: 'failed', drillId: null })
  expect(run.lines.join('\n')).toContain('does not know this token')

  token = { file: join(directory.path, 'none') }
  await start({ forSeconds: 1 })
  expect((await ended()).lines.join('\n')).toContain('DRILL_TOKEN_FILE cannot be read')
}, 60_000)

test('ended in its middle, it restores what it has stopped before the control plane is gone', async () => {
  token = { value: TOKEN.token }
  await start({ forSeconds: 30 })
  const canary = async () => (await devices()).find(({ deviceId }) => deviceId === DEVICE('canary', '01'))
  await expect.poll(async () => (await canary())?.revoked, { timeout: 30_000 }).toBe(true)
  await authority.restart()

  expect((await canary())?.revoked ?? false).toBe(false)
  expect((await look()).state).toBe('idle')
}, 60_000)
