// Run by compose.yaml, as root in a container that then ends: `secrets` makes what every process needs before the first
// start, `callers` hands the tool servers what the first control plane has made. Each goes to a volume that only those
// mount that need it. What is there already stays.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeDataDir, newPlatformToken, readSecrets, writeSecret } from '../../src/programs/secrets.ts'
import { firstSecrets, writeCallers } from './cluster-secrets.ts'

/** The user `node` of the image. */
const NODE = 1000
const [command, root = '/'] = process.argv.slice(2)
const at = (path: string) => join(root, path)
const postgres = at('secrets/postgres')
const controlPlane = at('secrets/control-plane')
const toolServer = at('secrets/tool-server')
const balancer = at('secrets/balancer')
const data = at('var/lib/holdpoint')

const newSecret = () => randomBytes(32).toString('base64url')
const ROLES = { controlPlane: 'holdpoint_control_plane', toolServer: 'holdpoint_tools' } as const
/** Of 200 that the server has: whatever tool servers do, nodes find one, and can be asked for a stop. */
const TOOL_CONNECTIONS = 90

/** One role and one database for each of the two servers: whoever has the tools' must not reach the authority's. */
function makeSecrets(): void {
  // The last that is written: a start that was cut short begins again.
  if (existsSync(join(postgres, 'roles.sql'))) return
  const passwords = { controlPlane: newSecret(), toolServer: newSecret() }
  const url = (of: keyof typeof ROLES) =>
    `postgres://${ROLES[of]}:${passwords[of]}@postgres:5432/${ROLES[of]}`
  writeSecret(
    join(controlPlane, 'control-plane.env'),
    `DATABASE_URL=${url('controlPlane')}\nPLATFORM_TOKEN=${newPlatformToken()}\n`,
  )
  writeSecret(
    join(toolServer, 'tool-server.env'),
    `TOOL_DATABASE_URL=${url('toolServer')}\nRUN_STATE_KEY=${newSecret()}\n`,
  )
  writeSecret(join(postgres, 'password'), newSecret())
  makeCertificate()
  const roles = (['controlPlane', 'toolServer'] as const).flatMap((of) => [
    `CREATE ROLE ${ROLES[of]} LOGIN PASSWORD '${passwords[of]}';`,
    `CREATE DATABASE ${ROLES[of]} OWNER ${ROLES[of]};`,
    `REVOKE CONNECT ON DATABASE ${ROLES[of]} FROM PUBLIC;`,
  ])
  roles.push(`ALTER ROLE ${ROLES.toolServer} CONNECTION LIMIT ${TOOL_CONNECTIONS};`)
  // It may see whether standbys keep up, for its report at the start.
  roles.push(`GRANT pg_monitor TO ${ROLES.controlPlane};`)
  writeSecret(join(postgres, 'roles.sql'), `${roles.join('\n')}\n`)
}

/** Of the balancer, signed by itself: what agents ask goes over TLS. */
function makeCertificate(): void {
  const [key, certificate] = [join(balancer, 'key.pem'), join(balancer, 'certificate.pem')]
  makeDataDir(balancer)
  const names = ['-subj', '/CN=balancer', '-addext', 'subjectAltName=DNS:balancer,DNS:localhost,IP:127.0.0.1']
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3650']
  execFileSync('openssl', ['req', ...kind, ...names, '-keyout', key, '-out', certificate], { stdio: 'pipe' })
  const text = readFileSync(certificate, 'utf8')
  writeSecret(join(balancer, 'balancer.pem'), `${text}${readFileSync(key, 'utf8')}`)
  writeSecret(join(toolServer, 'ca.pem'), text)
}

function handOver(): void {
  writeCallers(toolServer, firstSecrets(data))
  writeSecret(join(toolServer, 'runtime-key'), readSecrets(data).toolServer?.runtime ?? '')
}

/** Those of Postgres and of the balancer are read by a user of their image, in a volume that nobody else mounts. */
function giveAway(): void {
  for (const folder of [postgres, balancer]) {
    for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o444)
    chmodSync(folder, 0o755)
  }
  if (process.getuid?.() !== 0) return
  for (const folder of [controlPlane, toolServer]) {
    for (const path of [folder, ...readdirSync(folder).map((name) => join(folder, name))])
      chownSync(path, NODE, NODE)
  }
  for (const folder of [data, at('var/lib/tool-server')])
    if (existsSync(folder)) chownSync(folder, NODE, NODE)
}

if (command === 'callers') handOver()
else makeSecrets()
giveAway()
