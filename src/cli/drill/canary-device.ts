import { surfaceDeviceId } from '../../guard/device.ts'
import { messageOf } from '../../errors.ts'
import { CALLS, type CallOutput } from '../../machineid/calls.ts'
import { CliError } from '../cli-error.ts'
import { EXIT } from '../cli.ts'
import type { OperatorClient } from '../operator-client.ts'

/** Its third segment tells everybody what it is. */
const CANARY = 'canary'
/** A canary that was asked about or changed so recently is another drill's. */
const IN_USE_MS = 15_000
const ANYWAY = { outlivesInterrupt: true, timeoutMs: 5000 } as const

/** Registered for one drill, and removed when this drill registered them itself. */
export interface Canaries {
  readonly deviceIds: readonly string[]
  /** Those that were there before: they stay. */
  readonly found: readonly string[]
  /** Never throws. Says what is left, in sentences. */
  remove(): Promise<readonly string[]>
  /** Leaves them registered, and says so. */
  keep(): readonly string[]
}

export interface CanaryOptions {
  readonly drillId: string
  /** Wall clock, only to tell what was recent. */
  readonly nowMs: () => number
}

/** `{service}:{env}:canary:{instance}` of the server device. Throws `CliError`. */
export function canaryDeviceId(serverDeviceId: string): string {
  if (serverDeviceId.split(':').length >= 3) return surfaceDeviceId(serverDeviceId, CANARY)
  throw new CliError(
    'NO_CANARY',
    `The server device ${serverDeviceId} has no surface segment that a canary could replace. Drill a real surface ` +
      'instead: holdpoint drill --surface NAME',
    EXIT.usage,
  )
}

/** Registers them, all or none. Throws `CliError`: no slot, stopped, or in use by another drill. */
export async function registerCanaries(
  operator: OperatorClient,
  deviceIds: readonly string[],
  options: CanaryOptions,
): Promise<Canaries> {
  const ours: string[] = []
  const found: string[] = []
  let unsure: string | undefined
  const remove = async () => {
    const left: string[] = []
    // Its register got no answer: the label tells whether it was done.
    if (unsure !== undefined) ours.push(unsure)
    const labelled = unsure
    unsure = undefined
    for (const deviceId of ours.splice(0)) {
      try {
        if (deviceId === labelled && !(await isLabelled(operator, deviceId, options))) continue
        await operator.call(CALLS.remove, { deviceId, reason: `drill ${options.drillId} is over` }, ANYWAY)
      } catch (error) {
        left.push(
          `The canary ${deviceId} is still registered: ${messageOf(error)} Remove it: holdpoint devices rm ${deviceId}`,
        )
      }
    }
    return left
  }
  try {
    for (const deviceId of deviceIds) {
      unsure = deviceId
      const isNew = await register(operator, deviceId, options)
      unsure = undefined
      if (isNew) ours.push(deviceId)
      else found.push(deviceId)
    }
  } catch (error) {
    if (error instanceof CliError && error.code !== 'UNREACHABLE') unsure = undefined
    const left = await remove()
    if (left.length === 0) throw error
    throw new CliError('CANARY_LEFT', `${messageOf(error)}\n${left.join('\n')}`, EXIT.error, { cause: error })
  }
  const keep = () =>
    ours
      .splice(0)
      .map(
        (deviceId) => `The canary ${deviceId} stays registered. Remove it: holdpoint devices rm ${deviceId}`,
      )
  return { deviceIds, found, remove, keep }
}

async function isLabelled(
  operator: OperatorClient,
  deviceId: string,
  { drillId }: CanaryOptions,
): Promise<boolean> {
  const { devices } = await operator.call(CALLS.devices, {}, ANYWAY)
  return devices.some((device) => device.deviceId === deviceId && device.labels['drill'] === drillId)
}

/** True when it is this drill's own. */
async function register(
  operator: OperatorClient,
  deviceId: string,
  options: CanaryOptions,
): Promise<boolean> {
  // Looked at first: registering another drill's canary would write over its labels.
  const { devices } = await operator.call(CALLS.devices, {})
  const there = devices.find((device) => device.deviceId === deviceId)
  if (there !== undefined) {
    checkFound(there, options)
    return false
  }
  const asked = { deviceId, labels: { purpose: 'drill', drill: options.drillId } }
  const answer = await operator.call(CALLS.register, asked, ANYWAY).catch((error: unknown) => {
    if (error instanceof CliError && error.code === 'DEVICE_REMOVED') return bringBack(operator, asked)
    throw error instanceof CliError && error.code === 'DEVICE_LIMIT_REACHED' ? noSlot(deviceId, error) : error
  })
  // Between the look and the register another drill was faster.
  if (answer.status !== 'ok') throw inUse(deviceId)
  const [denial] = answer.stillDeniedBy ?? []
  if (denial === undefined) return true
  // Left registered: as a tombstone nobody could restore it.
  throw stopped(deviceId, denial)
}

/** A canary of an earlier drill left a tombstone: it comes back with the epoch of its removal, and no newer one (G6). */
async function bringBack(
  operator: OperatorClient,
  asked: { readonly deviceId: string; readonly labels: Record<string, string> },
): Promise<CallOutput<typeof CALLS.register>> {
  const again = { ...asked, restoreRemoved: true } as const
  try {
    return await operator.call(CALLS.register, again, ANYWAY)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    if (error.code === 'DEVICE_LIMIT_REACHED') throw noSlot(asked.deviceId, error)
    if (error.code !== 'EPOCH_REQUIRED' || error.epoch === undefined) throw error
    const { epoch: ifEpoch } = error
    return operator.call(CALLS.register, { ...again, ifEpoch }, ANYWAY).catch((second: unknown) => {
      throw second instanceof CliError && second.code === 'DEVICE_LIMIT_REACHED'
        ? noSlot(asked.deviceId, second)
        : second
    })
  }
}

type Device = CallOutput<typeof CALLS.devices>['devices'][number]

function checkFound(device: Device, { nowMs }: CanaryOptions): void {
  const { deviceId, revoked, locked, overLimit } = device
  const recentMs = Math.max(Date.parse(device.changedAt), Date.parse(device.lastSeen?.at ?? device.changedAt))
  // Another drill stops its canary too, so this comes first.
  if (Math.abs(nowMs() - recentMs) < IN_USE_MS) throw inUse(deviceId)
  if (revoked) throw stopped(deviceId, 'DEVICE_REVOKED')
  if (locked) throw stopped(deviceId, 'DEVICE_LOCKED')
  if (overLimit) throw noSlot(deviceId, undefined)
}

function inUse(deviceId: string): CliError {
  return new CliError(
    'DRILL_RUNNING',
    `The canary ${deviceId} was used less than ${IN_USE_MS / 1000} s ago: another drill is running. Wait for its end, ` +
      `then try again. If none is: holdpoint devices rm ${deviceId}`,
  )
}

function stopped(deviceId: string, code: string): CliError {
  const command = code === 'DEVICE_REVOKED' ? `holdpoint devices restore ${deviceId}` : 'holdpoint lock ls'
  return new CliError(
    'CANARY_STOPPED',
    `The canary ${deviceId} is stopped (${code}), and not by this drill, which restores only what it stopped itself. ` +
      `See who did with holdpoint devices ls, then: ${command}`,
  )
}

function noSlot(deviceId: string, cause: CliError | undefined): CliError {
  return new CliError(
    'NO_SLOT_FOR_CANARY',
    `The plan has no free slot for the canary ${deviceId}, a device that only the drill uses. Two ways out:\n` +
      '  holdpoint drill --surface NAME   stops a real surface for some seconds, and needs no slot\n' +
      '  holdpoint org plan pro           a plan with more devices, or remove one: holdpoint devices rm ID',
    EXIT.error,
    { cause },
  )
}
