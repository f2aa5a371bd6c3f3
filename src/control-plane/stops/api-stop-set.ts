import { PATHS } from '../../machineid/paths.ts'
import { StopSetQuery, StopSetResponse } from '../../machineid/wire-stops.ts'
import { orgRoute, type ApiContext, type Route } from '../api-route.ts'
import { MAY_SEE } from '../key-kinds.ts'
import { notACursor, Refusal } from '../refusal.ts'
import type { StopDevice } from './stop-store.ts'

const PAGE_DEVICES = 1000

/** What one stop took away, to be given back exactly (G6: with the epoch that each device has by now). */
export function stopSetRoute(context: ApiContext): Route {
  const { store } = context
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.stopSet,
    handler: 'stops/set',
    summary: 'Lists the devices of one stop, what each was before and what it is now',
    input: StopSetQuery,
    output: StopSetResponse,
    refusals: ['NOT_FOUND'],
    run: async ({ input: { epoch, limit = PAGE_DEVICES, cursor }, orgId }) => {
      const after = cursor === undefined ? 0 : seqOf(cursor)
      if (!(await store.knownStops(orgId, [epoch])).has(epoch)) throw noSuchStop()
      // One more than the page, to know whether there is a next one.
      const found = await store.listStopDevices(orgId, epoch, { after, limit: limit + 1 })
      const page = found.slice(0, limit)
      const nextCursor = page.length < found.length ? String(page.at(-1)?.seq) : null
      const devices = page.map((device) => deviceBody(device, epoch))
      return { body: { orgId, epoch, devices, nextCursor } }
    },
  })
}

function deviceBody({ deviceId, wasRevoked, now }: StopDevice, epoch: number) {
  return {
    deviceId,
    wasRevoked,
    epochNow: now === undefined || now.removed ? null : now.epoch,
    stillHeld: now?.epoch === epoch,
  }
}

function seqOf(cursor: string): number {
  const seq = Number(cursor)
  if (Number.isSafeInteger(seq) && String(seq) === cursor && seq > 0) return seq
  throw notACursor()
}

function noSuchStop(): Refusal {
  return new Refusal('NOT_FOUND', `The org has no stop of this epoch. GET ${PATHS.stopHistory} lists them.`)
}
