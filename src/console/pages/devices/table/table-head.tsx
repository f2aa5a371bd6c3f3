import { memo } from 'react'

import type { DeviceFilter, Sort } from '../device-filter.ts'
import styles from './device-table.module.css'

interface Column {
  readonly name: string
  /** Of the rest of the width when there is none. */
  readonly px?: number
  readonly sort?: Sort
  readonly isNumber?: boolean
}

const COLUMNS: readonly Column[] = [
  { name: 'Device', sort: 'device' },
  { name: 'State', px: 116, sort: 'state' },
  { name: 'Reason', px: 132 },
  { name: 'Last seen', px: 96, sort: 'seen' },
  { name: 'Last decision', px: 128 },
  { name: 'In flight', px: 68, sort: 'inFlight', isNumber: true },
  { name: 'Key', px: 74 },
  { name: 'Slot', px: 42, isNumber: true },
]

export const TableHead = memo(function TableHead({
  filter: { sort, descending },
  changeFilter,
  checked,
  count,
  onCheckAll,
  withActions,
}: {
  readonly filter: Pick<DeviceFilter, 'sort' | 'descending'>
  readonly changeFilter: (change: Partial<DeviceFilter>) => void
  readonly checked: 'all' | 'some' | 'none'
  readonly count: number
  readonly onCheckAll: (all: boolean) => void
  readonly withActions: boolean
}) {
  return (
    <>
      <colgroup>
        <col style={{ width: 38 }} />
        {COLUMNS.map(({ name, px }) => (
          <col key={name} style={px === undefined ? {} : { width: px }} />
        ))}
        {withActions && <col style={{ width: 80 }} />}
      </colgroup>
      <thead>
        <tr aria-rowindex={1}>
          <th scope="col">
            <input
              type="checkbox"
              className={styles.check}
              aria-label={`Select all ${count.toLocaleString('en')} matching`}
              checked={checked === 'all'}
              ref={(box) => {
                if (box !== null) box.indeterminate = checked === 'some'
              }}
              onChange={() => onCheckAll(checked !== 'all')}
            />
          </th>
          {COLUMNS.map(({ name, sort: by, isNumber = false }) => (
            <th
              key={name}
              scope="col"
              className={isNumber ? styles.numbers : undefined}
              aria-sort={
                by === undefined ? undefined : by !== sort ? 'none' : descending ? 'descending' : 'ascending'
              }
            >
              {by === undefined ? (
                name
              ) : (
                <button
                  type="button"
                  className={styles.sort}
                  onClick={() => changeFilter({ sort: by, descending: by === sort && !descending })}
                >
                  {name} <span aria-hidden>{by !== sort ? '' : descending ? '↓' : '↑'}</span>
                </button>
              )}
            </th>
          ))}
          {withActions && <th scope="col">Action</th>}
        </tr>
      </thead>
    </>
  )
})
