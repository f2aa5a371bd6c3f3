import { Button, Group } from '@mantine/core'
import { useState } from 'react'

/**
 * Where a list that goes on is looked at: the cursors that led here, the last one being of the page that is shown. What
 * is listed begins anew with each `of`, such as a filter: a cursor means nothing elsewhere.
 */
export function usePager(of = '') {
  const [cursors, setCursors] = useState<readonly string[]>([])
  const [was, setWas] = useState(of)
  if (was !== of) {
    setWas(of)
    setCursors([])
  }
  return {
    cursor: cursors.at(-1),
    isFirst: cursors.length === 0,
    // Pressed twice, it leads to the next page once.
    on: (cursor: string) => setCursors((now) => (now.at(-1) === cursor ? now : [...now, cursor])),
    back: () => setCursors(cursors.slice(0, -1)),
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
