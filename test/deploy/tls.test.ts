import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { freePort } from '../../demo/free-port.ts'
import { Agent, request } from 'undici'
import { startGuard } from '../../src/start-guard.ts'
import { newCallerToken, callerRecord } from '../../src/tool-server/callers.ts'
import { PROJECT } from '../docs/markdown.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts'
import { runMain, type Program } from '../fixtures/program.ts'

const noOpenssl = spawnSync('openssl', ['version']).error && 'openssl is not on this machine'
if (noOpenssl) console.warn(`skipped: TLS between the parts: ${noOpenssl}`)

let dir: string
let postgres: TestPostgres
let controlPlanePort: number
let toolServerPort: number
const at = (name: string) => join(dir, name)

beforeAll(async () => {
  if (noOpenssl) return
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-tls-'))
  makeCerts('certs', 'control-plane,localhost,127.0.0.1', 'tool-server,127.0.0.1', 'postgres,localhost')
  makeCerts('others', 'control-plane,localhost,127.0.0.1')
  if (noPostgres) return
  postgres = await startPostgres()
  await Promise.all([postgres.createDatabase('authority'), postgres.createDatabase('tools')])
  await speakTls(postgres)
  ;[controlPlanePort, toolServerPort] = [await freePort(), await freePort()]
}, 60_000)
afterAll(async () => {
  await postgres?.close()
  if (dir !== undefined) await rm(dir, { recursive: true, force: true })
})

test.skipIf(noOpenssl || noPostgres)(
  'agents, both servers and both databases over TLS, each certificate of one CA; a renewed one counts after a restart',
  { timeout: 60_000 },
  async () => {
    let authority = await startControlPlane()
    const callerToken = newCallerToken()
    const record = callerRecord(callerToken, { id: 'caller', name: 'Caller', scopes: ['tools:call'] })
    writeFileSync(at('callers.json'), JSON.stringify({ callers: [record] }))
    const toolServer = runMain(['tool-server'], {
      DATA_DIR: at('tools'),
      TOOL_SERVER_PORT: String(toolServerPort),
      ...certificate('tool-server'),
      ...guardEnv(at('certs/ca.pem')),
      CALLER_TOKENS_FILE: at('callers.json'),
      // Mutual: this database takes only clients with a certificate of the CA.
      TOOL_DATABASE_URL: databaseUrl('tools', {
        sslcert: at('certs/tool-server.pem'),
        sslkey: at('certs/tool-server.key'),
      }),
      RUN_STATE_KEY: 'a'.repeat(64),
    })
    await toolServer.printed('tool server is listening')
    const callTool = async () => {
      const trusting = new Agent({ connect: { ca: readFileSync(at('certs/ca.pem')) } })
      try {
        const { statusCode } = await request(`https://127.0.0.1:${toolServerPort}/tools/lookup_invoice`, {
          method: 'POST',
          dispatcher: trusting,
          headers: { authorization: `Bearer ${callerToken}`, 'content-type': 'application/json' },
          body: JSON.stringify({ call_id: 'call_1', arguments: { invoiceId: 'INV-1001' } }),
        })
        return statusCode
      } finally {
        await trusting.close()
      }
    }
    expect(await callTool()).toBe(200)
    const connections = await postgres.query(
      postgres.url,
      `SELECT datname, bool_and(ssl) AS secure FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
       WHERE datname IN ('authority', 'tools') GROUP BY datname ORDER BY datname`,
    )
    expect(connections).toEqual([
      { datname: 'authority', secure: true },
      { datname: 'tools', secure: true },
    ])

    // Renewed under the same CA: what runs goes on with the certificate that it has.
    const before = await serialOf(controlPlanePort)
    makeCerts('certs', 'control-plane,localhost,127.0.0.1')
    expect(await serialOf(controlPlanePort)).toBe(before)
    authority.process.kill('SIGTERM')
    expect(await authority.ended).toBe(0)
    authority = await startControlPlane()
    expect(await serialOf(controlPlanePort)).not.toBe(before)
    expect(await callTool()).toBe(200)

    // Another CA than that of the authority: nothing is asked.
    const denied = startGuard({
      journal: 'memory',
      env: { ...guardEnv(at('others/ca.pem')), DATA_DIR: at('x'), LOG_LEVEL: 'silent' },
    })
    await expect(denied).rejects.toMatchObject({ decision: { allowed: false, code: 'AUTHORITY_TLS' } })

    // During a change of CAs the file may hold both.
    writeFileSync(
      at('both.pem'),
      readFileSync(at('others/ca.pem'), 'utf8') + readFileSync(at('certs/ca.pem'), 'utf8'),
    )
    const guard = await startGuard({
      journal: 'memory',
      env: { ...guardEnv(at('both.pem')), DATA_DIR: at('x'), LOG_LEVEL: 'silent' },
    })
    await guard.close()

    for (const program of [toolServer, authority]) program.process.kill('SIGTERM')
    expect([await toolServer.ended, await authority.ended]).toEqual([0, 0])
  },
)

test.skipIf(noOpenssl || noPostgres)(
  'sslmode=verify-full: a database of another CA, or under another name, gets no password, and the message says so',
  async () => {
    const wrong = [
      databaseUrl('authority', { sslrootcert: at('others/ca.pem') }),
      databaseUrl('authority').replace('@localhost', '@127.0.0.1'),
    ]
    const programs = wrong.map((DATABASE_URL) =>
      runMain(['control-plane'], { ...controlPlaneEnv('wrong'), CONTROL_PLANE_PORT: '0', DATABASE_URL }),
    )
    for (const program of programs) {
      expect(await program.ended).toBe(1)
      expect(program.output() + program.errors()).toContain('shows a certificate that does not count here')
    }
  },
)

test.skipIf(noOpenssl)('deploy/tls/make-certs.sh keeps its CA, and each key for its owner alone', () => {
  const ca = readFileSync(at('certs/ca.pem'), 'utf8')
  makeCerts('certs', 'another')
  expect(readFileSync(at('certs/ca.pem'), 'utf8')).toBe(ca)
  expect(['ca.key', 'another.key'].map((name) => statSync(at(`certs/${name}`)).mode & 0o777)).toEqual([
    0o600, 0o600,
  ])
  expect(spawnSync('sh', [join(PROJECT, 'deploy/tls/make-certs.sh'), dir]).status).toBe(2)
})

function makeCerts(folder: string, ...names: string[]): void {
  execFileSync('sh', [join(PROJECT, 'deploy/tls/make-certs.sh'), at(folder), ...names])
}

/** To one database only over TLS, to the other only with a client's certificate, too. */
async function speakTls(server: TestPostgres): Promise<void> {
  const data = join(server.dir, 'data')
  for (const [from, to] of [
    ['certs/postgres.pem', 'server.crt'],
    ['certs/postgres.key', 'server.key'],
    ['certs/ca.pem', 'root.crt'],
  ] as const)
    writeFileSync(join(data, to), readFileSync(at(from)), { mode: 0o600 })
  const rules = [
    'hostnossl authority,tools all all reject',
    'hostssl tools all all password clientcert=verify-ca',
  ]
  const hba = join(data, 'pg_hba.conf')
  writeFileSync(hba, `${rules.join('\n')}\n${readFileSync(hba, 'utf8')}`)
  if (userInfo().uid === 0)
    execFileSync('chown', [
      'postgres',
      ...['server.crt', 'server.key', 'root.crt'].map((name) => join(data, name)),
    ])
  await server.configure("ssl = on\nssl_ca_file = 'root.crt'")
  server.reload()
}

function databaseUrl(database: string, parameters: Readonly<Record<string, string>> = {}): string {
  const url = new URL(postgres.url)
  url.hostname = 'localhost'
  url.pathname = database
  url.search = new URLSearchParams({
    sslmode: 'verify-full',
    sslrootcert: at('certs/ca.pem'),
    ...parameters,
  }).toString()
  return url.href
}

function certificate(name: string) {
  return { TLS_CERT_FILE: at(`certs/${name}.pem`), TLS_KEY_FILE: at(`certs/${name}.key`) }
}

function controlPlaneEnv(folder: string) {
  return {
    DATA_DIR: at(folder),
    OPERATOR_PORT: '0',
    PLATFORM_TOKEN: `hpp_${'a'.repeat(43)}`,
    ...certificate('control-plane'),
  }
}

async function startControlPlane(): Promise<Program> {
  const env = {
    ...controlPlaneEnv('authority'),
    CONTROL_PLANE_PORT: String(controlPlanePort),
    DATABASE_URL: databaseUrl('authority'),
  }
  const program = runMain(['control-plane'], env)
  await program.printed('control plane is listening')
  return program
}

function guardEnv(caFile: string) {
  return {
    MACHINEID_BASE_URL: `https://localhost:${controlPlanePort}`,
    MACHINEID_CA_FILE: caFile,
    MACHINEID_ORG_KEY_FILE: at('authority/tool-server.json'),
  }
}

function serialOf(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { port, host: '127.0.0.1', servername: 'localhost', ca: readFileSync(at('certs/ca.pem')) },
      () => {
        resolve(socket.getPeerCertificate().serialNumber)
        socket.destroy()
      },
    )
    socket.on('error', reject)
  })
}
