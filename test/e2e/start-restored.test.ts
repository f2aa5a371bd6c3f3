import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PATHS } from '../../src/machineid/paths.ts'
import { runMain, temporaryDirectory } from '../fixtures/program.ts'

const PORTS = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
const READY = 'npm run demo'

/** One machine, on which a control plane has run and was backed up, and is stopped now. */
async function backedUp() {
  const dir = await temporaryDirectory()
  const dataDir = join(dir.path, 'data')
  const backup = join(dir.path, 'monday.db')
  await startAndStop(dataDir)
  await command(dataDir, 'backup', backup)
  return { dataDir, backup, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() }
}

async function startAndStop(dataDir: string): Promise<void> {
  const program = runMain([], { ...PORTS, DATA_DIR: dataDir })
  await program.printed(READY)
  program.process.kill('SIGTERM')
  expect(await program.ended).toBe(0)
}

async function command(dataDir: string, ...args: string[]): Promise<void> {
  const program = runMain(args, { DATA_DIR: dataDir })
  expect(await program.ended, program.errors()).toBe(0)
}

const secrets = (dataDir: string) =>
  JSON.parse(readFileSync(join(dataDir, 'operator.json'), 'utf8')) as {
    readonly orgId: string
    readonly admin: string
    readonly consoleUrl: string
  }

async function ask(url: string, key: string, body?: object) {
  const answer = await fetch(url, {
    headers: { 'x-org-key': key, 'content-type': 'application/json' },
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as { code?: string; org: { epoch: number } } }
}

/** `npm start` keeps the control plane, so that somebody can look and enable the org; after that it starts whole. */
async function expectToBeEnabled(dataDir: string, oldAdmin: string): Promise<void> {
  const stopped = runMain([], { ...PORTS, DATA_DIR: dataDir })
  await stopped.printed('org enable')
  expect(stopped.output()).toMatch(/The tool server does not run\. Startup of .* was denied: ORG_DISABLED/)
  const { admin, consoleUrl } = secrets(dataDir)
  const usage = `${consoleUrl}${PATHS.usage}`
  expect(await ask(usage, oldAdmin)).toMatchObject({ status: 401, body: { code: 'KEY_BURNED' } })
  const { org } = (await ask(usage, admin)).body
  const enabled = await ask(`${consoleUrl}${PATHS.orgEnable}`, admin, { ifEpoch: org.epoch })
  expect(enabled.status).toBe(200)
  stopped.process.kill('SIGTERM')
  expect(await stopped.ended).toBe(1)
  await startAndStop(dataDir)
}

test('after restore-backup npm start has new keys, and waits until the org is enabled with one of them', async () => {
  await using machine = await backedUp()
  const { dataDir, backup } = machine
  const { admin } = secrets(dataDir)
  await command(dataDir, 'restore-backup', backup)
  await expectToBeEnabled(dataDir, admin)
})

test('a backup restored on another machine, where nothing else was saved, starts as well', async () => {
  await using machine = await backedUp()
  const { dataDir, backup } = machine
  const { orgId, admin } = secrets(dataDir)
  rmSync(dataDir, { recursive: true })
  await command(dataDir, 'restore-backup', backup)
  expect(secrets(dataDir).orgId).toBe(orgId)
  await expectToBeEnabled(dataDir, admin)
})

test('a backup that was copied by hand: one message says what to do, with status 1, and doing it helps', async () => {
  await using machine = await backedUp()
  const { dataDir, backup } = machine
  const { admin } = secrets(dataDir)
  copyFileSync(backup, join(dataDir, 'control-plane.db'))
  for (const times of ['first', 'again']) {
    const refused = runMain([], { ...PORTS, DATA_DIR: dataDir })
    expect(await refused.ended, times).toBe(1)
    expect(refused.output() + refused.errors()).toMatch(
      /^\S+operator\.json and \S+tool-server\.json were made before the database was restored at \S+Z, and a restore ends every key\. .* npx holdpoint backup FILE, then npx holdpoint restore-backup FILE\. \(SECRETS_ENDED\)\n$/,
    )
  }
  await command(dataDir, 'backup', `${backup}.again`)
  await command(dataDir, 'restore-backup', `${backup}.again`)
  await expectToBeEnabled(dataDir, admin)
})

test('a key that an operator has burned, and no restore, does not keep the control plane from starting', async () => {
  await using machine = await backedUp()
  const { dataDir } = machine
  const env = { ...PORTS, DATA_DIR: dataDir }
  const first = runMain(['control-plane'], env)
  await first.printed('control plane is listening')
  const { admin, consoleUrl } = secrets(dataDir)
  const keyId = admin.split('_')[2] ?? ''
  expect((await ask(`${consoleUrl}${PATHS.keyBurn.replace(':id', keyId)}`, admin, {})).status).toBe(200)
  first.process.kill('SIGTERM')
  expect(await first.ended).toBe(0)
  const again = runMain(['control-plane'], env)
  await again.printed('control plane is listening')
  expect((await ask(`${secrets(dataDir).consoleUrl}${PATHS.usage}`, admin)).body.code).toBe('KEY_BURNED')
  again.process.kill('SIGTERM')
  expect(await again.ended).toBe(0)
})
