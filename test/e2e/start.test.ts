import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { selfSigned } from '../fixtures/certificate.ts'
import { processesWith, runMain, temporaryDirectory } from '../fixtures/program.ts'

const run = promisify(execFile)
const PORTS = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
const READY = 'npm run demo'
const onLinux = existsSync('/proc/self/environ')
const hasCurl = spawnSync('curl', ['--version']).status === 0
if (!hasCurl) console.warn('skipped: the printed commands need curl, which is not on this machine')
if (!onLinux)
  console.warn('skipped: what a program leaves behind is looked up in /proc, which is not on this machine')

// Each begins several programs, one after the other: on a busy machine a start alone takes seconds.
describe('npm start', { timeout: 60_000 }, () => {
  test.skipIf(!hasCurl)(
    'prints under ten lines; its commands work as printed; SIGTERM ends everything with status 0',
    async () => {
      await using dir = await temporaryDirectory()
      const env = { ...PORTS, DATA_DIR: dir.path }
      const program = runMain([], env)
      await program.printed(READY)
      const lines = program.output().trimEnd().split('\n')
      expect(lines.length).toBeLessThan(10)
      expect(program.output()).not.toMatch(/hpc_|org_/)

      const [run, approve, resume, revoke, pay, restore] = lines.filter((line) => line.startsWith('  '))
      const operatorUrl = /for operators (http:\S+)/.exec(lines[0] ?? '')?.[1]
      const { consoleUrl } = JSON.parse(readFileSync(join(dir.path, 'operator.json'), 'utf8')) as OperatorFile
      expect(consoleUrl).toBe(operatorUrl)
      expect(lines[0]).toContain(`console ${operatorUrl}/console`)

      const paused = (await shell(run)) as { approvals: { callId: string; digest: string }[] }
      expect(paused).toMatchObject({
        status: 'interrupted',
        approvals: [{ tool: 'send_payment', arguments: { invoiceId: 'INV-1001', amountCents: 12_500 } }],
      })
      const { callId = '', digest = '' } = paused.approvals[0] ?? {}
      const approved = await shell(approve?.replace('CALL', callId).replace('DIGEST', digest))
      expect(approved).toMatchObject({ approvals: [{ state: 'approved', decidedBy: 'approver' }] })
      expect(await shell(resume)).toMatchObject({
        status: 'completed',
        output: expect.stringMatching(/scripted model.*\nINV-1001: paid, 125\.00 dollars\./),
      })
      expect(await shell(run)).toMatchObject({ status: 'completed' })
      expect(program.output()).toContain('agent on a scripted model: OPENAI_API_KEY is not set')

      expect(await shellText(revoke)).toContain('openai-agent:dev:payments:01')
      expect(await shell(pay)).toMatchObject({ error: 'permission_denied', code: 'DEVICE_REVOKED' })
      await program.printed('denied  DEVICE_REVOKED')
      expect(await shellText(restore)).toContain('openai-agent:dev:payments:01')
      expect(await shell(pay)).toMatchObject({
        call_id: expect.stringMatching(/^call-[\da-f]{8}$/),
        output: expect.stringContaining('INV-1002'),
      })
      expect(await shell(pay)).toMatchObject({ replayed: true })

      program.process.kill('SIGTERM')
      expect(await program.ended).toBe(0)
      if (onLinux) expect(processesWith(dir.path)).toEqual([])
    },
  )

  test.skipIf(!hasCurl)('its commands work on the second start too, with what is not paid yet', async () => {
    await using dir = await temporaryDirectory()
    for (const invoices of [
      ['INV-1001', 'INV-1002'],
      ['INV-1003', 'INV-1004'],
    ]) {
      const program = runMain([], { ...PORTS, DATA_DIR: dir.path })
      await program.printed(READY)
      const commands = program
        .output()
        .split('\n')
        .filter((line) => line.startsWith('  '))
      const [run, approve, resume, , pay] = commands
      const paused = (await shell(run)) as { approvals: { callId: string; digest: string }[] }
      expect(paused).toMatchObject({ status: 'interrupted' })
      const { callId = '', digest = '' } = paused.approvals[0] ?? {}
      await shell(approve?.replace('CALL', callId).replace('DIGEST', digest))
      const output = expect.stringContaining(`${invoices[0]}: paid,`)
      expect(await shell(resume)).toMatchObject({ status: 'completed', output })
      const paid = (await shell(pay)) as object
      expect(paid).toMatchObject({ output: expect.stringContaining(invoices[1] ?? '') })
      expect(paid).not.toHaveProperty('replayed')
      program.process.kill('SIGTERM')
      expect(await program.ended).toBe(0)
    }
  })

  test.skipIf(!hasCurl)('a later start takes the same org, keys and stops', async () => {
    await using dir = await temporaryDirectory()
    const env = { ...PORTS, DATA_DIR: dir.path }
    const secrets = () =>
      ['operator.json', 'tool-server.json'].map(
        (name) => JSON.parse(readFileSync(join(dir.path, name), 'utf8')) as OperatorFile,
      )
    const first = runMain([], env)
    await first.printed(READY)
    const before = secrets()
    for (const name of ['operator.json', 'tool-server.json', 'stop.curl', 'caller.curl', 'approver.curl']) {
      expect(statSync(join(dir.path, name)).mode & 0o777).toBe(0o600)
    }
    expect(before[1]).not.toHaveProperty('operator')
    await shellText(
      first
        .output()
        .split('\n')
        .find((line) => line.includes('devices revoke')),
    )
    // As an earlier version wrote it.
    const { consoleUrl: _, ...older } = before[0] ?? {}
    writeFileSync(join(dir.path, 'operator.json'), JSON.stringify({ ...older, added: 'by hand' }))
    first.process.kill('SIGINT')
    expect(await first.ended).toBe(0)

    const second = runMain([], env)
    await second.printed(READY)
    const consoleUrl = /for operators (http:\S+)/.exec(second.output())?.[1]
    expect(secrets()).toEqual([{ ...older, consoleUrl, added: 'by hand' }, before[1]])
    expect(statSync(join(dir.path, 'operator.json')).mode & 0o777).toBe(0o600)
    const pay = second
      .output()
      .split('\n')
      .find((line) => line.includes('send_payment'))
    expect(await shell(pay)).toMatchObject({ code: 'DEVICE_REVOKED' })
    second.process.kill('SIGTERM')
    expect(await second.ended).toBe(0)
  })

  test('with a certificate both servers speak https, and the tool server trusts only MACHINEID_CA_FILE', async () => {
    await using dir = await temporaryDirectory()
    const { cert, key } = selfSigned()
    const [certFile, keyFile] = [join(dir.path, 'cert.pem'), join(dir.path, 'key.pem')]
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key)
    const env = { ...PORTS, DATA_DIR: join(dir.path, 'data'), TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile }
    const trusting = runMain([], { ...env, MACHINEID_CA_FILE: certFile })
    await trusting.printed(READY)
    expect(trusting.output()).toMatch(/control-plane https:.*\ntool-server {3}https:/)
    if (hasCurl)
      expect(
        await shell(
          trusting
            .output()
            .split('\n')
            .find((line) => line.includes('send_payment')),
        ),
      ).toHaveProperty('output')
    trusting.process.kill('SIGTERM')
    expect(await trusting.ended).toBe(0)

    const distrusting = runMain([], env)
    expect(await distrusting.ended).toBe(1)
    expect(distrusting.output()).toContain('was denied: AUTHORITY_TLS')
  })

  test.skipIf(!hasCurl)(
    'after the org was disabled it keeps the control plane, so that somebody can enable it, and says how',
    async () => {
      await using dir = await temporaryDirectory()
      const env = { ...PORTS, DATA_DIR: dir.path }
      const first = runMain([], env)
      await first.printed(READY)
      const revoke = first
        .output()
        .split('\n')
        .find((line) => line.includes('devices revoke'))
      await shellText(revoke?.replace(/devices revoke.*/, 'org disable --yes --reason test'))
      first.process.kill('SIGTERM')
      await first.ended

      const stopped = runMain([], env)
      await stopped.printed('org enable')
      expect(stopped.output()).toMatch(
        /The tool server does not run\. Startup of .* was denied: ORG_DISABLED/,
      )
      const [status, enable] = stopped
        .output()
        .split('\n')
        .filter((line) => line.startsWith('  '))
      expect(await shell(`${status} --json`)).toMatchObject({ allAllowed: false })
      await shellText(`${enable} --yes`)
      stopped.process.kill('SIGTERM')
      expect(await stopped.ended).toBe(1)

      const again = runMain([], env)
      await again.printed(READY)
      again.process.kill('SIGTERM')
      expect(await again.ended).toBe(0)
    },
  )

  test.skipIf(!onLinux)('kill -9 of the supervisor: its programs end by themselves', async () => {
    await using dir = await temporaryDirectory()
    const program = runMain([], { ...PORTS, DATA_DIR: dir.path })
    await program.printed(READY)
    expect(processesWith(dir.path)).toHaveLength(3)
    program.process.kill('SIGKILL')
    await expect.poll(() => processesWith(dir.path), { timeout: 10_000 }).toEqual([])
  })

  test('one program that dies takes the other down, with status 1 and where to look', async () => {
    await using dir = await temporaryDirectory()
    const program = runMain([], { ...PORTS, DATA_DIR: dir.path })
    await program.printed(READY)
    const log = readFileSync(join(dir.path, 'logs/tool-server.log'), 'utf8')
    const { pid } = JSON.parse(log.split('\n')[0] ?? '') as { pid: number }
    process.kill(pid, 'SIGKILL')
    expect(await program.ended).toBe(1)
    expect(program.output()).toContain(`The tool-server has ended. Its log: ${dir.path}/logs/tool-server.log`)
  })
})

interface OperatorFile {
  readonly consoleUrl?: string
}

/** Runs a printed command as a shell would, and reads its answer. */
async function shell(command: string | undefined): Promise<unknown> {
  return JSON.parse(await shellText(command))
}

async function shellText(command: string | undefined): Promise<string> {
  const { stdout } = await run('sh', ['-c', command ?? 'false'])
  return stdout
}
