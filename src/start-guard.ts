import { join } from 'node:path'
import { readGuardConfig, type Env, type GuardConfig } from './config.ts'
import type { Alerts } from './gates/alerts.ts'
import { createGuard, type Guard, type GuardOptions } from './guard/guard.ts'
import { createMemoryJournal } from './guard/memory-journal.ts'
import { createLogger } from './log.ts'
import { MachineID } from './machineid/client.ts'
import { replicaName } from './machineid/options.ts'
import { StartupDenied } from './startup-denied.ts'
import { createSqliteJournal } from './store/sqlite/journal.ts'

/** What `startGuard` takes. What is left out is read from the environment. */
export interface StartGuardOptions extends Partial<Omit<GuardOptions, 'journal' | 'onClose'>> {
  /** A journal of your own, which you close, or `'memory'`, which forgets on exit. Default: `DATA_DIR/journal.sqlite`. */
  readonly journal?: GuardOptions['journal'] | 'memory'
  /** Where the settings are read from. Default `process.env`. */
  readonly env?: Env
  /** Told of all that the guard decides, a denial of its startup included. You close them; `startupGate` does it itself. */
  readonly alerts?: Alerts | undefined
}

/**
 * A started guard, from the environment: `MACHINEID_ORG_KEY` (or `_FILE`), `MACHINEID_BASE_URL`,
 * `MACHINEID_DEVICE_ID`, `MACHINEID_SURFACES`, `MACHINEID_PROFILE`, `MACHINEID_CA_FILE`, `VALIDATE_TIMEOUT_MS`,
 * `DATA_DIR`, `LOG_LEVEL`. Options go first. Throws `StartupDenied` when the server device is denied, `ConfigError`
 * or `GuardMisconfiguredError` when the settings cannot work. `guard.close()` ends what it opened.
 */
export async function startGuard(options: StartGuardOptions = {}): Promise<Guard> {
  const guard = guardFromEnv(options)
  const decision = await guard.start()
  if (decision.allowed) return guard
  await guard.close({ graceMs: 0 })
  throw new StartupDenied(decision)
}

/** The same guard, not started. */
export function guardFromEnv(options: StartGuardOptions = {}): Guard {
  return guardFromConfig(readGuardConfig(options.env), options)
}

export function guardFromConfig(config: GuardConfig, options: StartGuardOptions = {}): Guard {
  const { env: _env, journal: chosen, alerts, ...rest } = options
  const authority = options.authority ?? clientFromConfig(config)
  const journal = ownJournal(config, chosen)
  const guard = createGuard({
    serverDeviceId: config.MACHINEID_DEVICE_ID,
    surfaces: config.surfaces ?? [],
    timeoutMs: config.VALIDATE_TIMEOUT_MS,
    log: createLogger({ level: config.LOG_LEVEL }),
    ...rest,
    authority,
    journal,
    onClose: async () => {
      if (journal !== chosen) await journal.close()
      if (authority !== options.authority) await authority.close()
    },
  })
  alerts?.watch(guard)
  return guard
}

function ownJournal(config: GuardConfig, chosen: StartGuardOptions['journal']) {
  if (chosen === 'memory') return createMemoryJournal()
  return chosen ?? createSqliteJournal({ file: join(config.DATA_DIR, 'journal.sqlite') })
}

/** The client of the authority, which whoever made it closes. Sends nothing yet. */
export function clientFromConfig(config: GuardConfig): MachineID {
  const {
    MACHINEID_ORG_KEY,
    MACHINEID_ORG_KEY_FILE,
    MACHINEID_BASE_URL,
    MACHINEID_CA_FILE,
    MACHINEID_PROFILE,
  } = config
  const env = {
    MACHINEID_ORG_KEY,
    MACHINEID_ORG_KEY_FILE,
    MACHINEID_BASE_URL,
    MACHINEID_CA_FILE,
    MACHINEID_PROFILE,
  }
  return MachineID.fromEnv(env, {
    timeoutMs: config.VALIDATE_TIMEOUT_MS,
    replica: replicaName(config.MACHINEID_DEVICE_ID),
  })
}
