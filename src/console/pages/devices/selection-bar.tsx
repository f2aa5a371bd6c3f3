import { Button, Group, Text } from '@mantine/core'
import { memo, useMemo, type Dispatch, type SetStateAction } from 'react'

import { mayRestore, mayStop } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { count } from '../../ui/count.ts'
import type { Row } from './device-filter.ts'
import type { Device } from './device-state.ts'
import { NOTHING, withAll, type Selection } from './selection.ts'
import type { Actions } from './use-actions.ts'

/** How many there are, how many are chosen, and what can be done to those. */
export const SelectionBar = memo(function SelectionBar({
  shown,
  total,
  selected,
  byId,
  setSelection,
  begin,
  clear,
}: {
  readonly shown: readonly Row[]
  readonly total: number
  readonly selected: readonly string[]
  readonly byId: ReadonlyMap<string, Device>
  readonly setSelection: Dispatch<SetStateAction<Selection>>
  readonly begin: Actions['begin']
  /** Takes every filter away; there when there is any. */
  readonly clear: (() => void) | undefined
}) {
  const session = useSession()
  const shownIds = useMemo(() => shown.map(({ device }) => device.deviceId), [shown])
  const hidden = useMemo(() => {
    const visible = new Set(shownIds)
    return selected.filter((id) => !visible.has(id)).length
  }, [selected, shownIds])
  const none = selected.length === 0
  const revoked = selected.some((id) => byId.get(id)?.revoked === true)
  return (
    <Group gap="xs" justify="space-between">
      <Group gap="xs">
        <Text size="sm" role="status">
          {shown.length === total
            ? count(total, 'device')
            : `${shown.length.toLocaleString('en')} of ${count(total, 'device')}`}
          {!none && `, ${selected.length.toLocaleString('en')} selected`}
          {hidden > 0 && ` (${hidden.toLocaleString('en')} of them hidden by the filter)`}
        </Text>
        {clear !== undefined && (
          <Button size="compact-sm" variant="default" onClick={clear}>
            Clear the filter
          </Button>
        )}
        <Button
          size="compact-sm"
          variant="default"
          disabled={shown.length === 0}
          onClick={() => setSelection((now) => withAll(now, shownIds))}
        >
          {`Select all ${shown.length.toLocaleString('en')} matching`}
        </Button>
        {!none && (
          <Button size="compact-sm" variant="default" onClick={() => setSelection(NOTHING)}>
            Select none
          </Button>
        )}
      </Group>
      <Group gap="xs" role="group" aria-label="With the selected devices">
        {mayStop(session) && (
          <Button
            size="compact-sm"
            color="red"
            disabled={none}
            onClick={() => begin({ is: 'revoke', deviceIds: selected })}
          >
            Revoke selected
          </Button>
        )}
        {mayRestore(session) && (
          <>
            <Button
              size="compact-sm"
              color="teal.9"
              disabled={!revoked}
              onClick={() => begin({ is: 'restore', deviceIds: selected })}
            >
              Restore selected
            </Button>
            <Button
              size="compact-sm"
              variant="default"
              disabled={none}
              onClick={() => begin({ is: 'remove', deviceIds: selected })}
            >
              Remove selected
            </Button>
          </>
        )}
      </Group>
    </Group>
  )
})
