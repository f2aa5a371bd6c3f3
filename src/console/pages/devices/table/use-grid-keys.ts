import { useLayoutEffect, useRef, useState, type KeyboardEvent, type RefObject } from 'react'

import { moveOf } from './grid-move.ts'

/**
 * One row is where Tab comes to; the arrows go from row to row and, within one, from control to control. A row that is
 * scrolled out of sight is not there any more, so the focus then stays with the area.
 */
export function useGridKeys(options: {
  readonly area: RefObject<HTMLDivElement | null>
  readonly count: number
  readonly pageRows: () => number
  readonly show: (index: number) => void
  readonly onExtend: (index: number) => void
}) {
  const { area, count, pageRows, show, onExtend } = options
  const [active, setActive] = useState(0)
  const wanted = useRef<{ readonly row: number; readonly column: number }>(undefined)
  const had = useRef(false)

  useLayoutEffect(() => {
    const box = area.current
    if (box === null) return
    if (wanted.current !== undefined) {
      const { row, column } = wanted.current
      const found = controlOf(box.querySelector(`[data-row="${row}"]`), column)
      if (found === null) return
      found.focus({ preventScroll: true })
      wanted.current = undefined
    } else if (had.current && document.activeElement === document.body) {
      box.focus({ preventScroll: true })
    }
    had.current = box.contains(document.activeElement)
  })

  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const place = placeOf(event)
    if (place === undefined) return
    const move = moveOf(event.key, {
      row: place.row ?? active,
      column: place.column,
      count,
      page: pageRows(),
    })
    if (move === undefined) return
    event.preventDefault()
    if (move.row === undefined) {
      controlOf(place.element, move.column)?.focus()
      return
    }
    if (event.shiftKey) onExtend(move.row)
    wanted.current = { row: move.row, column: place.column }
    setActive(move.row)
    show(move.row)
  }
  const onFocus = ({ target }: { readonly target: EventTarget }) => {
    const row = rowOf(target)
    if (row !== null) setActive(Number(row.dataset['row']))
    had.current = true
  }
  return { active: Math.min(active, Math.max(0, count - 1)), onKeyDown, onFocus }
}

function rowOf(target: EventTarget): HTMLElement | null {
  return target instanceof HTMLElement ? target.closest<HTMLElement>('[data-row]') : null
}

function controlOf(row: Element | null, column: number): HTMLElement | null {
  return row?.querySelector<HTMLElement>(`[data-col="${column}"]`) ?? null
}

/** In a row, or on the area itself; undefined elsewhere, and where the browser has its own use for the keys. */
function placeOf({ target, currentTarget, ctrlKey, metaKey, altKey }: KeyboardEvent<HTMLElement>) {
  if (!(target instanceof HTMLElement) || ctrlKey || metaKey || altKey) return undefined
  const element = rowOf(target)
  if (element === null && target !== currentTarget) return undefined
  return {
    element,
    row: element === null ? undefined : Number(element.dataset['row']),
    column: Number(target.dataset['col'] ?? 0),
  }
}
