import { useVirtualizer, type VirtualItem } from '@tanstack/react-virtual'
import { memo, useCallback, useMemo, useRef, type Dispatch, type SetStateAction } from 'react'

import { mayStop } from '../../../api/roles.ts'
import { useSession } from '../../../api/session-state.ts'
import type { DeviceFilter, Row } from '../device-filter.ts'
import type { Lock } from '../device-state.ts'
import { extended, toggled, withAll, without, type Selection } from '../selection.ts'
import type { Actions } from '../use-actions.ts'
import { DeviceRows } from './device-rows.tsx'
import styles from './device-table.module.css'
import { TableHead } from './table-head.tsx'
import { useGridKeys } from './use-grid-keys.ts'

const ROW_PX = 44
const HEAD_PX = 40

export interface DeviceTableProps {
  readonly shown: readonly Row[]
  readonly filter: Pick<DeviceFilter, 'sort' | 'descending'>
  readonly changeFilter: (change: Partial<DeviceFilter>) => void
  readonly selection: Selection
  readonly setSelection: Dispatch<SetStateAction<Selection>>
  readonly keyNames: ReadonlyMap<string, string>
  readonly locks: readonly Lock[]
  readonly orgReason: string | null
  readonly begin: Actions['begin']
  readonly open: (deviceId: string) => void
}

/** A real table of which only the rows in sight are there. */
export const DeviceTable = memo(function DeviceTable(props: DeviceTableProps) {
  const { shown, filter, changeFilter, selection, setSelection } = props
  const session = useSession()
  const area = useRef<HTMLDivElement>(null)
  const ids = useMemo(() => shown.map(({ device }) => device.deviceId), [shown])
  // oxlint-disable-next-line react/incompatible-library -- this console is built without React's compiler
  const virtual = useVirtualizer({
    count: shown.length,
    getScrollElement: () => area.current,
    estimateSize: () => ROW_PX,
    overscan: 8,
    scrollMargin: HEAD_PX,
    scrollPaddingStart: HEAD_PX,
  })
  const onCheck = useCallback(
    (index: number, isRange: boolean) => {
      const id = ids[index]
      if (id !== undefined) setSelection((now) => (isRange ? extended(now, id, ids) : toggled(now, id)))
    },
    [ids, setSelection],
  )
  const onCheckAll = useCallback(
    (all: boolean) => setSelection((now) => (all ? withAll(now, ids) : without(now, ids))),
    [ids, setSelection],
  )
  const { active, onKeyDown, onFocus } = useGridKeys({
    area,
    count: shown.length,
    pageRows: () => Math.max(1, Math.floor((virtual.scrollRect?.height ?? 0) / ROW_PX) - 2),
    show: (index) => virtual.scrollToIndex(index),
    onExtend: (index) => onCheck(index, true),
  })
  const chosen = useMemo(() => ids.filter((id) => selection.ids.has(id)).length, [ids, selection])

  const items = virtual.getVirtualItems()
  const before = (items[0]?.start ?? HEAD_PX) - HEAD_PX
  const after = virtual.getTotalSize() - ((items.at(-1)?.end ?? HEAD_PX) - HEAD_PX)
  return (
    // An area that scrolls has to be reachable by the keyboard; the keys are those of the grid in it.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <div
      ref={area}
      className={`${styles.area} scrolls-sideways`}
      role="region"
      aria-label="List of devices"
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      tabIndex={0}
      onKeyDown={onKeyDown}
      onFocus={onFocus}
    >
      <table
        className={styles.table}
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-to-interactive-role -- ARIA's own pattern for it
        role="grid"
        aria-label="Devices"
        aria-rowcount={shown.length + 1}
        aria-multiselectable
      >
        <TableHead
          filter={filter}
          changeFilter={changeFilter}
          checked={checkedOf(chosen, ids.length)}
          count={ids.length}
          onCheckAll={onCheckAll}
          withActions={mayStop(session)}
        />
        <tbody>
          <Spacer px={before} />
          <DeviceRows {...props} items={items} stop={stopOf(active, items)} onCheck={onCheck} />
          <Spacer px={after} />
        </tbody>
      </table>
    </div>
  )
})

/** Where Tab comes to: the first row in sight when the one that was last is not. */
function stopOf(active: number, items: readonly VirtualItem[]): number | undefined {
  return items.some(({ index }) => index === active) ? active : items[0]?.index
}

function checkedOf(chosen: number, all: number): 'all' | 'some' | 'none' {
  if (chosen === 0) return 'none'
  return chosen === all ? 'all' : 'some'
}

/** Where the rows are that are out of sight. */
function Spacer({ px }: { readonly px: number }) {
  if (px <= 0) return null
  return (
    <tr aria-hidden className={styles.spacer}>
      {/* oxlint-disable-next-line jsx-a11y/control-has-associated-label -- nothing is in it */}
      <td style={{ height: px }} colSpan={10} />
    </tr>
  )
}
