// npm run cluster: three control planes and three tool servers over one Postgres, behind balancers, all on this
// machine. To try what several machines do; Ctrl-C ends all of it, and the next start goes on with the same data.
import { join } from 'node:path'
import {
  loadEnvFile,
  programEnv,
  readControlPlaneConfig,
  readToolServerConfig,
  type Env,
} from '../src/config.ts'
import { writeCurlFiles } from '../src/programs/banner.ts'
import { explain } from '../src/programs/lifecycle.ts'
import { clusterBanner } from './cluster/banner.ts'
import { startCluster } from './cluster/start-cluster.ts'

loadEnvFile()
const print = (text: string) => console.log(text)

async function run(env: Env): Promise<void> {
  const ended = Promise.withResolvers<void>()
  process.on('SIGTERM', () => ended.resolve())
  process.on('SIGINT', () => ended.resolve())
  const { ports, dataDir, certificateFile } = read(env)
  print('Starting Postgres, three control planes and three tool servers …')
  const cluster = await startCluster({ env, dataDir, ports, onLine: print })
  try {
    writeCurlFiles(dataDir, certificateFile)
    print(clusterBanner(cluster, dataDir))
    await ended.promise
    print('Stopping …')
  } finally {
    await cluster.close()
  }
}

/** What the programs would complain about is said before anything starts. */
function read(env: Env) {
  const given = {
    ...env,
    DATABASE_URL: env['DATABASE_URL'] || 'postgres://127.0.0.1/holdpoint',
    PLATFORM_TOKEN: env['PLATFORM_TOKEN'] || '-'.repeat(32),
  }
  const controlPlane = readControlPlaneConfig(given)
  const { TOOL_SERVER_PORT: callers } = readToolServerConfig({ ...env, TOOL_DATABASE_URL: undefined })
  const {
    CONTROL_PLANE_PORT: agents,
    OPERATOR_PORT: operators,
    TLS_CERT_FILE: certificateFile,
  } = controlPlane
  return {
    ports: { agents, operators, callers },
    dataDir: join(controlPlane.DATA_DIR, 'cluster'),
    certificateFile,
  }
}

try {
  await run(programEnv())
} catch (error) {
  print(explain(error))
  process.exitCode = 1
}
