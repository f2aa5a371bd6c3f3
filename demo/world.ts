import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, MachineID, startGuard, type Guard } from 'holdpoint'
import { programEnv } from '../src/config.ts'
import { spawnProgram, type Child } from '../src/programs/supervisor.ts'
import type { Cluster } from './cluster/start-cluster.ts'
import { createLedger } from '../tools/ledger.ts'
import type { Receipt } from '../tools/payments.ts'

/** The devices of a free plan: three. */
export const DEVICES = {
  server: 'openai-agent:demo:tool-server:01',
  payments: 'openai-agent:demo:payments:01',
  email: 'openai-agent:demo:email:01',
} as const

/** Everything of a deployment, as processes of their own on free ports, in a folder that is deleted at the end. */
export interface World {
  /** What runs, in a sentence. */
  readonly about: string
  readonly toolServerUrl: string
  readonly callerToken: string
  /** Decides what waits for a person, and can start nothing. */
  readonly approverToken: string
  /** The operator's hand: stops and restores from outside. */
  readonly operator: MachineID
  /** Also enables the org again, which an operator's key may not. */
  readonly admin: MachineID
  /** This process as one more replica of the same agent, with hold points of its own. */
  readonly guard: Guard
  /** Where several nodes and replicas run. */
  readonly cluster?: Cluster
  /** Looks into the embedded bank: what was really paid. */
  payments(): Promise<readonly Receipt[]>
  killControlPlane(): Promise<void>
  restartControlPlane(): Promise<void>
  close(): Promise<void>
}

export async function createWorld(): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdpoint-demo-'))
  const logDir = join(dataDir, 'logs')
  const env = {
    ...withoutOurs(programEnv()),
    DATA_DIR: dataDir,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
    TOOL_SERVER_PORT: '0',
    MACHINEID_DEVICE_ID: DEVICES.server,
  }
  let controlPlane = await spawnProgram({ program: 'control-plane', env, logDir })
  const baseUrl = controlPlane.url
  const keyFile = join(dataDir, 'tool-server.json')
  const asking = { ...env, MACHINEID_BASE_URL: baseUrl, MACHINEID_ORG_KEY_FILE: keyFile }
  const toolServer = await spawnProgram({ program: 'tool-server', env: asking, logDir })
  const secrets = { ...readJson(join(dataDir, 'operator.json')), ...readJson(keyFile) }
  const guard = await startGuard({
    env: asking,
    surfaces: ['payments', 'email'],
    log: createLogger({ level: 'silent' }),
  })
  const ledger = createLedger({ file: join(dataDir, 'ledger.sqlite') })
  const operator = new MachineID({ baseUrl, orgKey: secrets['operator'] })
  const admin = new MachineID({ baseUrl, orgKey: secrets['admin'] })

  return {
    about: 'Two processes run: a control plane, and a tool server with the surfaces payments and email.',
    toolServerUrl: toolServer.url,
    callerToken: secrets['callerToken'] ?? '',
    approverToken: secrets['approverToken'] ?? '',
    operator,
    admin,
    guard,
    payments: async () => ledger.payments(),
    killControlPlane: () => kill(controlPlane),
    restartControlPlane: async () => {
      const CONTROL_PLANE_PORT = new URL(baseUrl).port
      controlPlane = await spawnProgram({
        program: 'control-plane',
        env: { ...env, CONTROL_PLANE_PORT },
        logDir,
      })
    },
    close: async () => {
      await guard.close()
      for (const client of [operator, admin]) await client.close()
      await toolServer.stop()
      await controlPlane.stop()
      ledger.close()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

async function kill(child: Child): Promise<void> {
  child.process.kill('SIGKILL')
  await child.ended
}

/** The demo is the same everywhere: only the model may come from the environment. */
export function withoutOurs(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const kept = Object.entries(env).filter(([name]) => !OURS.test(name))
  return Object.fromEntries(kept)
}

const OURS =
  /^(?:MACHINEID_|ON_|TLS_|VALIDATE_|STRIPE_|(?:TOOL_)?DATABASE_|(?:HOST|PUBLIC_URL|ALLOWED_HOSTS|TRUST_PROXY|CALLER_TOKENS_FILE|PLATFORM_TOKEN|LOG_LEVEL|CONSISTENCY|RUN_STATE_KEY|APPROVAL_TTL_SECONDS|SMTP_URL)$)/

function readJson(file: string): Record<string, string> {
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
}
