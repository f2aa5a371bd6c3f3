import {
  createGuard,
  createLogger,
  MachineID,
  StartupDenied,
  type Guard,
  type Journal,
  type StartGuardOptions,
} from 'holdpoint'
import { startupGate } from 'holdpoint/gates'
import { BUDGET_MS, type ReplicaSpec } from './topology.ts'

export interface StartupOptions {
  readonly url: string
  readonly key: string
  readonly journal: Journal
  /** The process is this replica and nothing else, as in production. */
  readonly alone: boolean
}

/** A replica after its startup boundary: a guard that is started, or why there is none. */
export interface Startup {
  readonly guard: Guard | undefined
  readonly code: string
  readonly close: () => Promise<void>
}

const log = createLogger({ level: 'silent' })

/** Registers and validates. */
export async function startUp(spec: ReplicaSpec, options: StartupOptions): Promise<Startup> {
  const { deviceId, surfaces } = spec
  const { url: baseUrl, key: orgKey, journal, alone } = options
  const timeoutMs = BUDGET_MS
  const authority = new MachineID({ baseUrl, orgKey, timeoutMs, replica: deviceId })
  const guardOptions = { authority, serverDeviceId: deviceId, surfaces, journal, log, timeoutMs }
  const { guard, code, leave } = alone
    ? await throughGate({ ...guardOptions, env: environment(deviceId, options) })
    : await amongOthers(guardOptions)
  const close = async () => {
    await leave()
    await authority.close()
  }
  if (guard === undefined) await close()
  return { guard, code, close }
}

interface Opened {
  readonly guard: Guard | undefined
  readonly code: string
  readonly leave: () => Promise<unknown>
}

/** As the program of one worker does: `main` begins only when startup was allowed. */
async function throughGate(options: StartGuardOptions): Promise<Opened> {
  const opened = Promise.withResolvers<Guard>()
  const leaving = Promise.withResolvers<void>()
  const main = async (guard: Guard) => {
    opened.resolve(guard)
    await leaving.promise
  }
  const ended = startupGate(main, { ...options, onDenied: 'throw' })
  ended.catch(opened.reject)
  const leave = async () => {
    leaving.resolve()
    await ended.catch(() => undefined)
  }
  try {
    return { guard: await opened.promise, code: 'ALLOW', leave }
  } catch (error) {
    if (!(error instanceof StartupDenied)) throw error
    return { guard: undefined, code: error.decision.code, leave }
  }
}

/** `startupGate` is for one guard to a process; many that share one are started by hand. */
async function amongOthers(options: Parameters<typeof createGuard>[0]): Promise<Opened> {
  const guard = createGuard(options)
  const { allowed, code } = await guard.start()
  return { guard: allowed ? guard : undefined, code, leave: () => guard.close() }
}

function environment(deviceId: string, { url, key }: StartupOptions): Record<string, string> {
  return { MACHINEID_DEVICE_ID: deviceId, MACHINEID_BASE_URL: url, MACHINEID_ORG_KEY: key }
}
