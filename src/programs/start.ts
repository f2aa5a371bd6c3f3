import { join } from 'node:path'
import { readControlPlaneConfig, readToolServerConfig, type Env, type ToolServerConfig } from '../config.ts'
import { isUnavailable } from '../guard/decision.ts'
import { HoldpointError } from '../errors.ts'
import { isLoopback } from '../loopback.ts'
import { resolveSurfaces, shippedSurfaces } from '../guard/surface.ts'
import { banner, stoppedBanner, writeCurlFiles } from './banner.ts'
import { explain, fromHere, ProgramEndedError } from './lifecycle.ts'
import { spawnProgram, type Child, type SpawnOptions } from './supervisor.ts'
import { readSecrets, toolServerFile } from './secrets.ts'

/**
 * `npm start`: control plane and tool server, two processes on this machine as in production. With
 * `MACHINEID_BASE_URL` set, only the tool server. Ends them in reverse on SIGTERM, Ctrl-C, or when one of them ends.
 */
export async function startAll(env: Env, print: (text: string) => void): Promise<number> {
  const toolServer = readToolServerConfig(env)
  const authority = toolServer.MACHINEID_BASE_URL
  const ownControlPlane = authority === undefined
  if (ownControlPlane) readControlPlaneConfig(env)
  // Only the origin: a URL may carry a password.
  else
    print(
      `MACHINEID_BASE_URL is set: only the tool server starts here, and asks ${new URL(authority).origin}.`,
    )
  const dataDir = toolServer.DATA_DIR
  const logDir = join(dataDir, 'logs')
  const children: Child[] = []
  const stopAll = async () => {
    for (const child of children.toReversed()) await child.stop()
  }
  const ending = new AbortController()
  const { signal } = ending
  const asked = new Promise<'asked'>((resolve) => signal.addEventListener('abort', () => resolve('asked')))
  process.on('SIGTERM', () => ending.abort())
  process.on('SIGINT', () => ending.abort())
  try {
    let toolServerEnv: Env = env
    if (ownControlPlane) {
      const controlPlane = await spawnProgram({
        program: 'control-plane',
        env: withDrills(env, toolServer),
        logDir,
        onLine: print,
        signal,
      })
      children.push(controlPlane)
      toolServerEnv = withAuthority(env, fromHere(controlPlane.url), dataDir)
    }
    const denied = await startToolServer(children, { env: toolServerEnv, logDir, onLine: print, signal })
    writeCurlFiles(dataDir, toolServer.TLS_CERT_FILE)
    print(
      denied === undefined
        ? banner({
            children,
            dataDir,
            certificateFile: toolServer.TLS_CERT_FILE,
            paymentsDevice: paymentsDevice(toolServer),
            scriptedModel: toolServer.OPENAI_API_KEY === undefined,
          })
        : stoppedBanner({ children, dataDir, certificateFile: toolServer.TLS_CERT_FILE, denied }),
    )
    const ended = Promise.race(children.map((child) => child.ended.then(() => child)))
    const first = await Promise.race([asked, ended])
    if (first !== 'asked') print(`The ${first.program} has ended. Its log: ${logDir}/${first.program}.log`)
    const status = first === 'asked' && denied === undefined ? 0 : 1
    await stopAll()
    return status
  } catch (error) {
    // What was asked to end while it was starting has failed at nothing.
    if (!signal.aborted) print(explain(error))
    await stopAll()
    return signal.aborted ? 0 : 1
  }
}

/**
 * A tool server that was stopped must not take the control plane with it: nobody could restore it then. Gives back the
 * denial in that case.
 */
async function startToolServer(
  children: Child[],
  options: Omit<SpawnOptions, 'program'>,
): Promise<ProgramEndedError | undefined> {
  try {
    children.push(await spawnProgram({ program: 'tool-server', ...options }))
    return undefined
  } catch (error) {
    const isStop =
      error instanceof ProgramEndedError && error.denied !== undefined && !isUnavailable(error.denied.code)
    if (children.length > 0 && isStop) return error
    throw error
  }
}

function paymentsDevice({ MACHINEID_DEVICE_ID, surfaces }: ToolServerConfig): string | undefined {
  return resolveSurfaces(MACHINEID_DEVICE_ID, surfaces ?? shippedSurfaces(MACHINEID_DEVICE_ID))
    .get('payments')
    ?.at(-1)
}

/** The control plane may drill the tool server that is started beside it, whose approver it made: on loopback alone. */
function withDrills(env: Env, { HOST, TOOL_SERVER_PORT, ...toolServer }: ToolServerConfig): Env {
  const { CALLER_TOKENS_FILE, PUBLIC_URL, tls } = toolServer
  const takesApprover = CALLER_TOKENS_FILE === undefined && PUBLIC_URL === undefined && isLoopback(HOST)
  if (env['DRILL_TOOL_SERVER_URL'] || !takesApprover || TOOL_SERVER_PORT === 0) return env
  const host = HOST.includes(':') ? `[${HOST}]` : HOST
  return {
    ...env,
    DRILL_TOOL_SERVER_URL: `${tls === undefined ? 'http' : 'https'}://${host}:${TOOL_SERVER_PORT}`,
  }
}

/** The tool server asks the control plane just started, with the key that the first start wrote for it. */
function withAuthority(env: Env, url: string, dataDir: string): Env {
  const key = env['MACHINEID_ORG_KEY'] || env['MACHINEID_ORG_KEY_FILE']
  if (!key && readSecrets(dataDir).toolServer?.runtime === undefined) throw keyIsElsewhere(dataDir)
  return {
    ...env,
    MACHINEID_BASE_URL: url,
    ...(key ? {} : { MACHINEID_ORG_KEY_FILE: toolServerFile(dataDir) }),
  }
}

/** A control plane that finds an org in its database needs no secrets itself. */
function keyIsElsewhere(dataDir: string): HoldpointError {
  return new HoldpointError(
    'SECRETS_MISSING',
    `The database has an org already, and ${toolServerFile(dataDir)} has no key of it: that was moved away, or made with another DATA_DIR. ` +
      'Put it back or take that DATA_DIR, or set MACHINEID_ORG_KEY_FILE to the tool-server.json that was made. ' +
      'One more control plane needs none, and no tool server beside it: npx holdpoint control-plane.',
  )
}
