import { CALLS } from '../../machineid/calls.ts'
import type { StopBody } from '../../machineid/wire-stops.ts'
import { CliError } from '../cli-error.ts'
import type { OperatorClient } from '../operator-client.ts'

/** Something that a drill stops for a while. */
export interface DrillStop {
  readonly what: string
  /** Restores it by hand. */
  readonly command: string
  /** Right before it. Throws `CliError` when somebody else has stopped it: a stop on top of that would be restored with it. */
  look?(): Promise<void>
  /** Resolves with the ack. Its epoch is null with hosted MachineID, which has none. */
  make(): Promise<{ readonly epoch: number | null }>
  /** Restores with the epoch of that very stop (G6). May be repeated. */
  undo(epoch: number | null): Promise<Undone>
  /** For a stop that got no answer: its epoch when it was made all the same, and by this drill. */
  find(): Promise<{ readonly epoch: number | null } | undefined>
}

/** `leftStopped`: somebody else has stopped it meanwhile, so that it is not the drill's to restore. */
export interface Undone {
  readonly epoch: number | null
  readonly leftStopped: string | undefined
}

/** Ctrl-C does not leave open whether something is stopped. */
const ANYWAY = { outlivesInterrupt: true, timeoutMs: 5000 } as const

export function deviceStop(
  operator: OperatorClient,
  deviceIds: readonly string[],
  reason: string,
): DrillStop {
  const current = async () => {
    const { devices } = await operator.call(CALLS.devices, {}, ANYWAY)
    return devices.filter(({ deviceId, revoked }) => revoked && deviceIds.includes(deviceId))
  }
  const others = othersStops(operator)
  return {
    what: deviceIds.join(', '),
    look: async () => {
      const { devices, orgEpoch } = await operator.call(CALLS.devices, {}, ANYWAY)
      const stopped = devices.filter(({ deviceId, revoked }) => revoked && deviceIds.includes(deviceId))
      if (stopped.length > 0)
        throw stoppedAlready(stopped.map((device) => whoElse(device.deviceId, device)).join('; '))
      others.since(orgEpoch)
    },
    command: `holdpoint devices restore ${deviceIds.join(' ')}`,
    make: async () => {
      const { results } = await operator.call(
        CALLS.revokeBatch,
        { deviceIds: [...deviceIds], reason },
        ANYWAY,
      )
      const failed = results.find(({ ok }) => !ok)
      const epoch = Math.max(...results.map((result) => result.epoch))
      if (failed === undefined) return { epoch }
      throw new CliError(
        failed.code ?? 'NOT_STOPPED',
        `${failed.deviceId} could not be stopped (${failed.code ?? ''}).`,
      )
    },
    undo: async (epoch) => {
      const notOurs = await others.before(epoch, ({ action, deviceIds: hit, deviceCount }) =>
        action !== 'device.revoke' ? [] : deviceCount > hit.length ? deviceIds : hit,
      )
      const items = deviceIds
        .filter((deviceId) => !notOurs.has(deviceId))
        .map((deviceId) => ({ deviceId, ...(epoch === null ? {} : { ifEpoch: epoch }) }))
      const { results } =
        items.length === 0
          ? { results: [] }
          : await operator.call(CALLS.unrevokeBatch, { items, reason }, ANYWAY)
      const failed = results.filter(({ ok }) => !ok)
      // Stale: it is stopped anew, or a first try of ours was done and its answer lost.
      const stopped = failed.length === 0 ? [] : await current()
      const left = stopped.filter(({ deviceId }) => failed.some((result) => result.deviceId === deviceId))
      const restored = results.find(({ ok }) => ok)
      const whose = [
        ...left.map((device) => whoElse(device.deviceId, device)),
        ...deviceIds.flatMap((deviceId) => {
          const stop = notOurs.get(deviceId)
          return stop === undefined ? [] : [whoElse(deviceId, stop)]
        }),
      ]
      return {
        epoch: restored?.epoch ?? null,
        leftStopped: whose.length === 0 ? undefined : whose.join('; '),
      }
    },
    find: async () => {
      const ours = (await current()).filter((device) => device.reason === reason)
      return ours.length === 0 ? undefined : { epoch: Math.max(...ours.map(({ epoch }) => epoch)) }
    },
  }
}

export function orgStop(operator: OperatorClient, reason: string): DrillStop {
  const current = async () => (await operator.call(CALLS.usage, {}, ANYWAY)).org
  const others = othersStops(operator)
  return {
    what: 'the whole org',
    look: async () => {
      const { org, orgEpoch } = await operator.call(CALLS.usage, {}, ANYWAY)
      if (org.disabled) throw stoppedAlready(whoElse('the org', org))
      others.since(orgEpoch)
    },
    command: 'holdpoint org enable',
    make: async () => ({ epoch: (await operator.call(CALLS.orgDisable, { reason }, ANYWAY)).epoch }),
    undo: async (epoch) => {
      const notOurs = await others.before(epoch, ({ action }) => (action === 'org.disable' ? [action] : []))
      for (const stop of notOurs.values()) return { epoch: null, leftStopped: whoElse('the org', stop) }
      try {
        const answer = await operator.call(
          CALLS.orgEnable,
          { reason, ...(epoch === null ? {} : { ifEpoch: epoch }) },
          ANYWAY,
        )
        return { epoch: answer.epoch, leftStopped: undefined }
      } catch (error) {
        if (!(error instanceof CliError) || error.code !== 'EPOCH_STALE') throw error
        const org = await current()
        return { epoch: null, leftStopped: org.disabled ? whoElse('the org', org) : undefined }
      }
    },
    find: async () => {
      const org = await current()
      return org.disabled && org.reason === reason ? { epoch: org.epoch } : undefined
    },
  }
}

/** The authority does not answer questions about these canaries. Ends by itself. */
export function cutOff(operator: OperatorClient, canaries: readonly string[], seconds: number): DrillStop {
  const set = async (forSeconds: number) => {
    for (const deviceId of canaries)
      await operator.call(CALLS.drillCut, { deviceId, seconds: forSeconds }, ANYWAY)
  }
  return {
    what: `the answers about ${canaries.join(', ')}`,
    command: 'none is needed, it ends by itself',
    make: async () => {
      await set(seconds)
      return { epoch: null }
    },
    undo: async () => {
      await set(0)
      return { epoch: null, leftStopped: undefined }
    },
    find: async () => ({ epoch: null }),
  }
}

/** What somebody else stopped after the look and before the drill did: the epoch of the drill's own stop hides it. */
function othersStops(operator: OperatorClient) {
  let sinceEpoch: number | undefined
  return {
    since: (epoch: number) => (sinceEpoch = epoch),
    /** Each thing that `hit` names of a stop, with the newest such stop. */
    before: async (epoch: number | null, hit: (stop: StopBody) => readonly string[]) => {
      const found = new Map<string, StopBody>()
      if (epoch === null || sinceEpoch === undefined) return found
      let cursor: string | undefined
      for (;;) {
        const page = await operator.call(CALLS.stopHistory, { cursor }, ANYWAY)
        for (const stop of page.stops) {
          if (stop.epoch <= sinceEpoch) return found
          if (stop.epoch < epoch) for (const one of hit(stop)) if (!found.has(one)) found.set(one, stop)
        }
        if (page.nextCursor === null) return found
        cursor = page.nextCursor
      }
    },
  }
}

function stoppedAlready(who: string): CliError {
  return new CliError('STOPPED_ALREADY', `Not stopped by this drill: ${who}.`)
}

function whoElse(
  what: string,
  { epoch, reason }: { readonly epoch: number; readonly reason: string | null },
): string {
  const why = reason === null ? '' : `: ${JSON.stringify(reason)}`
  return `${what} was stopped by somebody else meanwhile (epoch ${epoch}${why})`
}
