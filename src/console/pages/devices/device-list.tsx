import { Stack, Text } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { memo, useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react'

import { mayRestore } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { Empty } from '../../ui/answer.tsx'
import { useNow } from '../../ui/when.tsx'
import { isNarrowed, matching, NO_FILTER, segmentValues, type DeviceFilter } from './device-filter.ts'
import { DeviceFilters } from './filters.tsx'
import { NOTHING, type Selection } from './selection.ts'
import { SelectionBar } from './selection-bar.tsx'
import { DeviceTable } from './table/device-table.tsx'
import type { Actions } from './use-actions.ts'
import type { DevicesData } from './use-devices.ts'

export interface DeviceListProps {
  readonly data: DevicesData
  readonly filter: DeviceFilter
  readonly changeFilter: (change: Partial<DeviceFilter>) => void
  readonly begin: Actions['begin']
  readonly open: (deviceId: string) => void
}

/** The table, what it is narrowed by, and what can be done to what is chosen in it. */
export const DeviceList = memo(function DeviceList({
  data,
  filter,
  changeFilter,
  begin,
  open,
}: DeviceListProps) {
  const mayRegister = mayRestore(useSession())
  const { rows, byId, keyNames, locks, usage } = data
  const [text, search] = useSearchText(filter.q, changeFilter)
  const [selection, setSelection] = useState<Selection>(NOTHING)
  // What is typed or chosen is painted first; what it finds comes after.
  const asked = useMemo(() => ({ ...filter, q: text }), [filter, text])
  const wanted = useDeferredValue(asked)
  const nowMs = useNow(60_000)
  const shown = useMemo(() => matching(rows, wanted, nowMs), [rows, wanted, nowMs])
  const values = useMemo(() => segmentValues(rows), [rows])
  const selected = useMemo(() => [...selection.ids].filter((id) => byId.has(id)), [selection, byId])
  const clear = useCallback(() => {
    search('')
    changeFilter(NO_FILTER)
  }, [search, changeFilter])

  if (rows.length === 0) {
    return (
      <Empty title="There is no device yet.">
        Each process registers its devices when it starts. Start one with a runtime key of this org
        {mayRegister && ', or register a device here'}.
      </Empty>
    )
  }
  return (
    <Stack gap="sm">
      <DeviceFilters filter={filter} text={text} search={search} change={changeFilter} values={values} />
      <SelectionBar
        shown={shown}
        total={rows.length}
        selected={selected}
        byId={byId}
        setSelection={setSelection}
        begin={begin}
        clear={isNarrowed(asked) ? clear : undefined}
      />
      {shown.length === 0 ? (
        <Empty title="No device fits.">{isNarrowed(wanted) && 'Take away a filter to see more.'}</Empty>
      ) : (
        <DeviceTable
          shown={shown}
          filter={filter}
          changeFilter={changeFilter}
          selection={selection}
          setSelection={setSelection}
          keyNames={keyNames}
          locks={locks}
          orgReason={usage?.org.reason ?? null}
          begin={begin}
          open={open}
        />
      )}
      <Text size="xs" c="dimmed">
        Removed devices are not listed. Their IDs stay denied.
      </Text>
    </Stack>
  )
})

const TO_ADDRESS_MS = 300

/** What is being typed. The address follows; browsers refuse to change it with every key. */
function useSearchText(q: string, changeFilter: DeviceListProps['changeFilter']) {
  const [text, setText] = useState(q)
  const written = useRef(q)
  useEffect(() => {
    if (q === written.current) return
    written.current = q
    setText(q)
  }, [q])
  const write = useDebouncedCallback((to: string) => {
    written.current = to
    changeFilter({ q: to })
  }, TO_ADDRESS_MS)
  const search = useCallback(
    (to: string) => {
      setText(to)
      write(to)
    },
    [write],
  )
  return [text, search] as const
}
