import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { MachineID } from '../../src/machineid/client.ts'
import { spawnProgram } from '../../src/programs/supervisor.ts'

export const EXAMPLES_DIR = join(import.meta.dirname, '../../examples')

export interface Ended {
  readonly status: number
  /** Standard output and standard error. */
  readonly text: string
}

export interface World extends AsyncDisposable {
  /** Stops and restores, as an operator. */
  readonly operator: MachineID
  /** Runs one example as a user would, beside what `npm start` starts, with `more` in its environment. */
  run(example: string, more?: Readonly<Record<string, string>>): Promise<Ended>
}

/** What `npm start` starts, as processes of their own on free ports, with everything in a folder that is deleted. */
export async function startWorld(): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdpoint-examples-'))
  // Nothing else of this process's environment: no model key, no settings of a developer.
  // The longest budget for a question: a test machine may be busy.
  const env = { PATH: process.env['PATH'], DATA_DIR: dataDir, VALIDATE_TIMEOUT_MS: '3000' }
  const start = {
    logDir: join(dataDir, 'logs'),
    env: { ...env, CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' },
  }
  const controlPlane = await spawnProgram({ ...start, program: 'control-plane' })
  const asking = {
    MACHINEID_BASE_URL: controlPlane.url,
    MACHINEID_ORG_KEY_FILE: join(dataDir, 'tool-server.json'),
  }
  const toolServer = await spawnProgram({
    ...start,
    env: { ...start.env, ...asking },
    program: 'tool-server',
  })
  const exampleEnv = {
    ...env,
    ...asking,
    TOOL_SERVER_PORT: new URL(toolServer.url).port,
    LOG_LEVEL: 'silent',
  }
  const { operator: orgKey } = JSON.parse(readFileSync(join(dataDir, 'operator.json'), 'utf8')) as {
    operator: string
  }
  const operator = new MachineID({ baseUrl: controlPlane.url, orgKey })
  return {
    operator,
    run: (example, more = {}) =>
      new Promise((resolve) => {
        const args = ['--conditions=holdpoint-source', join(EXAMPLES_DIR, example)]
        const child = execFile(
          process.execPath,
          args,
          { env: { ...exampleEnv, ...more }, cwd: dataDir, timeout: 50_000 },
          (_error, out, err) => resolve({ status: child.exitCode ?? -1, text: out + err }),
        )
      }),
    [Symbol.asyncDispose]: async () => {
      await operator.close()
      await toolServer.stop()
      await controlPlane.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
