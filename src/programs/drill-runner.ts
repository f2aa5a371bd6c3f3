import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'

import type { DrillAsked, DrillRunner } from '../control-plane/drills/drill-runs.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { ownProgram } from '../package-root.ts'
import { makeDataDir } from './secrets.ts'

export interface DrillRunnerOptions {
  readonly orgId: string
  readonly toolServerUrls: readonly string[]
  /** Of a caller with `runs:approve`. A file is read for each drill. */
  readonly token: { readonly value: string } | { readonly file: string }
  /** Reports go to `drill-runs/drills` in it. */
  readonly dataDir: string
  /** Certificates (PEM) to trust instead of the well-known ones. */
  readonly caFile?: string | undefined
  /** The control plane's own certificate, to trust as well. */
  readonly certificateFile?: string | undefined
}

/** The status of `holdpoint drill` when a stop did not hold. */
const NOT_HELD_STATUS = 3
/** How long a drill that is to end may take to restore what it has stopped. */
const KILL_AFTER_MS = 5000

/** Runs `holdpoint drill` as a process of its own, which gets nothing of our environment. */
export function createDrillRunner(options: DrillRunnerOptions): DrillRunner {
  return {
    orgId: options.orgId,
    run: async ({ asked, key, controlPlaneUrl, onLine, signal }) => {
      if (signal.aborted) return 'failed'
      // No `.env` and no keys of an operator are found there.
      const cwd = resolve(options.dataDir, 'drill-runs')
      makeDataDir(cwd)
      const child = spawn(process.execPath, [...ownProgram(), ...argumentsOf(asked)], {
        cwd,
        env: envOf(options, { key, controlPlaneUrl, cwd }),
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const lines = createInterface({ input: child.stderr })
      let brokeOut = false
      lines.on('line', (line) => {
        brokeOut ||= line.includes('(STOP_DID_NOT_HOLD)')
        onLine(line)
      })
      let kill: NodeJS.Timeout | undefined
      const end = () => {
        child.kill('SIGTERM')
        kill = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS)
      }
      signal.addEventListener('abort', end, { once: true })
      try {
        const [status] = (await once(child, 'close')) as [number | null]
        // Of a refusal the status is the same.
        if (status === NOT_HELD_STATUS && brokeOut) return 'not_held'
        return status === 0 ? 'held' : 'failed'
      } finally {
        signal.removeEventListener('abort', end)
        clearTimeout(kill)
        lines.close()
      }
    },
  }
}

/** Each value stands in one argument with its name: whatever it is, it becomes no other option. */
function argumentsOf({ surface, org, cut, callsPerSecond, forSeconds }: DrillAsked): string[] {
  return [
    'drill',
    '--yes',
    ...(surface === undefined ? [] : [`--surface=${surface}`]),
    ...(org === true ? ['--org'] : []),
    ...(cut === false ? ['--no-cut'] : []),
    ...(callsPerSecond === undefined ? [] : [`--rate=${callsPerSecond}`]),
    ...(forSeconds === undefined ? [] : [`--for=${forSeconds}`]),
  ]
}

function envOf(
  { toolServerUrls, token, caFile, certificateFile }: DrillRunnerOptions,
  { key, controlPlaneUrl, cwd }: Readonly<Record<'key' | 'controlPlaneUrl' | 'cwd', string>>,
): Record<string, string> {
  return {
    HOLDPOINT_KEY: key,
    HOLDPOINT_TOKEN: 'value' in token ? token.value : readToken(token.file),
    CONSOLE_URL: controlPlaneUrl,
    TOOL_SERVER_URL: toolServerUrls.join(','),
    DATA_DIR: cwd,
    ...(caFile !== undefined && { MACHINEID_CA_FILE: resolve(caFile) }),
    ...(certificateFile !== undefined && { TLS_CERT_FILE: resolve(certificateFile) }),
  }
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new HoldpointError('CONFIG_INVALID', `DRILL_TOKEN_FILE cannot be read: ${messageOf(cause)}`, {
      cause,
    })
  }
}
