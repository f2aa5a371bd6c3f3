import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, MachineID, startGuard } from 'holdpoint'
import { programEnv } from '../src/config.ts'
import { toolServerFile } from '../src/programs/secrets.ts'
import { createPostgresLedger } from '../tools/postgres-ledger.ts'
import { openPostgresTables } from '../tools/postgres-tables.ts'
import type { Receipt } from '../tools/payments.ts'
import { startCluster } from './cluster/start-cluster.ts'
import { DEVICES, withoutOurs, type World } from './world.ts'

/** The same with three control planes and three tool servers over one Postgres, reached through balancers. */
export async function createClusterWorld(): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdpoint-demo-'))
  const env = { ...withoutOurs(programEnv()), MACHINEID_DEVICE_ID: DEVICES.server }
  const ports = { agents: 0, operators: 0, callers: 0 }
  const cluster = await startCluster({ env, dataDir, ports, onLine: () => {} })
  const { url: baseUrl, secrets, controlPlanes, toolServerUrl } = cluster
  const guard = await startGuard({
    env: {
      ...env,
      DATA_DIR: dataDir,
      MACHINEID_BASE_URL: baseUrl,
      MACHINEID_ORG_KEY_FILE: toolServerFile(dataDir),
    },
    surfaces: ['payments', 'email'],
    log: createLogger({ level: 'silent' }),
  })
  const operator = new MachineID({ baseUrl: cluster.operatorUrl, orgKey: secrets.operator })
  const admin = new MachineID({ baseUrl: cluster.operatorUrl, orgKey: secrets.admin })
  return {
    about: 'Three control planes and three tool servers run over one Postgres, behind balancers.',
    cluster,
    toolServerUrl,
    callerToken: secrets.callerToken,
    approverToken: secrets.approverToken,
    operator,
    admin,
    guard,
    payments: () => paymentsOf(cluster.toolDatabaseUrl),
    killControlPlane: async () => {
      for (const node of controlPlanes) await node.kill()
    },
    restartControlPlane: async () => {
      await Promise.all(controlPlanes.map((node) => node.start()))
    },
    close: async () => {
      await guard.close()
      for (const client of [operator, admin]) await client.close()
      await cluster.close()
      const folders = [dataDir, cluster.postgres?.dir ?? dataDir]
      for (const folder of folders) rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** By a connection of its own each time: Postgres is killed in between. */
async function paymentsOf(url: string): Promise<readonly Receipt[]> {
  const tables = await openPostgresTables({ url, poolSize: 1, timeoutMs: LOOK_WITHIN_MS })
  try {
    return await (await createPostgresLedger(tables)).payments()
  } finally {
    await tables.close()
  }
}

const LOOK_WITHIN_MS = 10_000
