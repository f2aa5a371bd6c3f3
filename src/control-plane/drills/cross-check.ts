import { setImmediate as nextTurn } from 'node:timers/promises'
import type { z } from 'zod'

import type { DrillAttestation, DrillReportBody } from '../../machineid/wire-drills.ts'
import type { AuditRow } from '../records.ts'
import { STOP_ACTIONS } from '../stops/stop-store.ts'
import type { ControlPlaneStore } from '../store.ts'

/** Whatever raises the epoch. */
const ACTIONS = [...STOP_ACTIONS, 'device.unrevoke', 'device.restore_removed', 'lock.release', 'org.enable']
/** A drill is stored right after it ran: its rows are among the newest about its devices. */
const LOOKED_AT = 200
const MAX_DEVICES = 16

/** What the audit itself has of the epochs that a report names, whatever the report says of them. */
export async function crossCheck(
  store: Pick<ControlPlaneStore, 'findAudit'>,
  orgId: string,
  { steps, target }: DrillReportBody,
): Promise<z.infer<typeof DrillAttestation>['audit']> {
  const epochs = [...new Set(steps.flatMap(({ epoch }) => epoch ?? []))]
  const found = new Map<number, AuditRow>()
  const about = [...target.deviceIds.slice(0, MAX_DEVICES), undefined]
  for (const deviceId of about) {
    if (found.size === epochs.length) break
    await nextTurn()
    await lookBack(store, { orgId, deviceId, epochs }, found)
  }
  return epochs.map((epoch) => ({ epoch, row: rowBody(found.get(epoch)) }))
}

async function lookBack(
  store: Pick<ControlPlaneStore, 'findAudit'>,
  of: { readonly orgId: string; readonly deviceId: string | undefined; readonly epochs: readonly number[] },
  found: Map<number, AuditRow>,
): Promise<void> {
  const first = Math.min(...of.epochs)
  let beforeSeq: number | undefined
  for (let looked = 0; looked < LOOKED_AT; looked++) {
    const wanted = { actions: ACTIONS, deviceId: of.deviceId, untilMs: Number.MAX_SAFE_INTEGER, beforeSeq }
    const row = await store.findAudit(of.orgId, wanted)
    if (row === undefined) return
    const epoch = epochOf(row)
    if (epoch !== undefined && epoch < first) return
    if (epoch !== undefined && of.epochs.includes(epoch)) found.set(epoch, row)
    beforeSeq = row.seq
  }
}

function epochOf({ after }: AuditRow): number | undefined {
  const { epoch } = (after ?? {}) as { epoch?: unknown }
  return typeof epoch === 'number' ? epoch : undefined
}

function rowBody(row: AuditRow | undefined) {
  if (row === undefined) return null
  const { seq, hash, action, atMs } = row
  return { seq, hash, action, at: new Date(atMs).toISOString() }
}
