import { useMemo } from 'react'
import { useLocation, useSearch } from 'wouter'

export type Filters<Name extends string> = Readonly<Partial<Record<Name, string>>>

/** Filters that stand in the address, so that a page can be sent to somebody. An empty one is left out. */
export function useFilters<const Name extends string>(
  names: readonly Name[],
): [Filters<Name>, (change: Filters<Name>) => void] {
  const [path, navigate] = useLocation()
  // The router's text is half decoded; it only says when to look.
  const changed = useSearch()
  const filters = useMemo(() => {
    const given = new URLSearchParams(window.location.search)
    const pairs = names.map((name) => [name, given.get(name) ?? ''] as const)
    return Object.fromEntries(pairs.filter(([, value]) => value !== '')) as Filters<Name>
    // eslint-disable-next-line react/exhaustive-deps -- `names` are the same for each page.
  }, [changed])
  const change = (next: Filters<Name>) => {
    const all = Object.entries<string | undefined>({ ...filters, ...next })
    const kept = all.filter((pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== '')
    const search = new URLSearchParams(kept).toString()
    navigate(search === '' ? path : `${path}?${search}`, { replace: true })
  }
  return [filters, change]
}
