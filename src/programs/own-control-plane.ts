import { resolve } from 'node:path'

import { readControlPlaneConfig, type Env } from '../config.ts'
import { exit } from '../exit.ts'
import { createLogger, type Logger } from '../log.ts'
import { startControlPlane as start } from './control-plane.ts'
import { operatorFile, toolServerFile } from './secrets.ts'

/** What `startControlPlane` takes. */
export interface StartControlPlaneOptions {
  /** Where the settings are read from: those of the control plane in `.env.example`. Default `process.env`. */
  readonly env?: Env | undefined
  /** Default: JSON lines on standard output, at `LOG_LEVEL`. */
  readonly log?: Logger | undefined
  /**
   * Told once the store can no longer be trusted, or what answers validates has ended: from then on every question is
   * denied and no stop is acknowledged (G4, G5). Start a new process. Default: exits this one with status 1.
   */
  readonly onFatal?: ((problem: Error) => void) | undefined
}

/** A control plane that listens. */
export interface RunningControlPlane {
  /** Where agents ask: `MACHINEID_BASE_URL`. */
  readonly url: string
  /** Where operators ask, and the console is. */
  readonly operatorUrl: string
  /** The operators' keys, as the first start wrote them. Where nodes share a database, only one of them has the files. */
  readonly operatorFile: string
  /** The runtime key, for `MACHINEID_ORG_KEY_FILE`. */
  readonly toolServerFile: string
  /** Accepts nothing new, finishes the answers in progress, stores what was decided. */
  close(): Promise<void>
}

/**
 * A control plane in this process, as `npx holdpoint control-plane` runs it in one of its own: opens the store in
 * `DATA_DIR` (or `DATABASE_URL`), makes the org and its keys at the first start, and listens. Validates are answered in
 * threads of their own, whose file is in the package: do not bundle this. It handles no signals. Rejects with
 * `HoldpointError`: `CONFIG_INVALID`, or what cannot be opened.
 */
export async function startControlPlane(
  options: StartControlPlaneOptions = {},
): Promise<RunningControlPlane> {
  const config = readControlPlaneConfig(options.env)
  const log = options.log ?? createLogger({ level: config.LOG_LEVEL, name: 'control-plane' })
  const onFatal = options.onFatal ?? (() => exit(log, 1))
  const { url, operatorUrl, close } = await start(config, log, onFatal)
  const dataDir = resolve(config.DATA_DIR)
  return {
    url,
    operatorUrl,
    operatorFile: operatorFile(dataDir),
    toolServerFile: toolServerFile(dataDir),
    close,
  }
}
