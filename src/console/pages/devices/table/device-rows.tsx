import type { VirtualItem } from '@tanstack/react-virtual'
import { useCallback } from 'react'

import { mayRestore, mayStop } from '../../../api/roles.ts'
import { useSession } from '../../../api/session-state.ts'
import { useNow } from '../../../ui/when.tsx'
import { reasonOf } from '../locks-of.ts'
import { DeviceRow, type DeviceRowProps } from './device-row.tsx'
import type { DeviceTableProps } from './device-table.tsx'

type Act = DeviceRowProps['act']

/** Those in sight, each with what it needs and nothing that changes without it. */
export function DeviceRows({
  shown,
  selection,
  keyNames,
  locks,
  orgReason,
  begin,
  open,
  items,
  stop,
  onCheck,
}: DeviceTableProps &
  Pick<DeviceRowProps, 'onCheck'> & {
    readonly items: readonly VirtualItem[]
    readonly stop: number | undefined
  }) {
  const session = useSession()
  const nowMs = useNow(10_000)
  const onAct = useCallback<DeviceRowProps['onAct']>(
    (deviceId, act) => begin({ is: act === 'Revoke' ? 'revoke' : 'restore', deviceIds: [deviceId] }),
    [begin],
  )
  const whenRevoked: Act = mayRestore(session) ? 'Restore' : undefined
  const otherwise: Act = mayStop(session) ? 'Revoke' : undefined
  return items.map(({ index }) => {
    const row = shown[index]
    if (row === undefined) return null
    const { device, denials, inFlight } = row
    return (
      <DeviceRow
        key={device.deviceId}
        device={device}
        denials={denials}
        inFlight={inFlight}
        reason={denials.length === 0 ? '' : reasonOf(device, locks, orgReason)}
        keyName={device.lastSeen === null ? undefined : keyNames.get(device.lastSeen.keyId)}
        nowMs={nowMs}
        index={index}
        selected={selection.ids.has(device.deviceId)}
        isStop={index === stop}
        act={device.revoked ? (whenRevoked ?? otherwise) : otherwise}
        onCheck={onCheck}
        onOpen={open}
        onAct={onAct}
      />
    )
  })
}
