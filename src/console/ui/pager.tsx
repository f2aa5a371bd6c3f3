import { Button, Group } from '@mantine/core'
import { useState } from 'react'

/** Where a list that goes on is looked at: the cursors that led here, the last one being of the page that is shown. */
export function usePager() {
  const [cursors, setCursors] = useState<readonly string[]>([])
  return {
    cursor: cursors.at(-1),
    isFirst: cursors.length === 0,
    on: (cursor: string) => setCursors([...cursors, cursor]),
    back: () => setCursors(cursors.slice(0, -1)),
    reset: () => setCursors([]),
  }
}

/** Shown only where there is another page. */
export function Pager({
  pager,
  nextCursor,
  what,
}: {
  readonly pager: ReturnType<typeof usePager>
  readonly nextCursor: string | null
  /** `stops`, `runs`. */
  readonly what: string
}) {
  if (pager.isFirst && nextCursor === null) return null
  return (
    <Group component="nav" gap="xs" aria-label={`Pages of ${what}`}>
      <Button variant="default" disabled={pager.isFirst} onClick={pager.back}>
        Newer {what}
      </Button>
      <Button
        variant="default"
        disabled={nextCursor === null}
        onClick={() => nextCursor !== null && pager.on(nextCursor)}
      >
        Older {what}
      </Button>
    </Group>
  )
}
