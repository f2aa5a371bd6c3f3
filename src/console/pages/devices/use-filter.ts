import { useCallback, useMemo } from 'react'
import { useSearchParams } from 'wouter'

import { filterOf, withFilter, type DeviceFilter } from './device-filter.ts'

/** The filter, as the address has it. */
export function useFilter(): readonly [DeviceFilter, (change: Partial<DeviceFilter>) => void] {
  const [params, setParams] = useSearchParams()
  // The same object while nothing of it changes, whatever else in the address does.
  const own = withFilter(new URLSearchParams(), filterOf(params)).toString()
  const filter = useMemo(() => filterOf(new URLSearchParams(own)), [own])
  const change = useCallback(
    (patch: Partial<DeviceFilter>) =>
      setParams((now) => withFilter(now, { ...filterOf(now), ...patch }), { replace: true }),
    [setParams],
  )
  return [filter, change]
}

/** One more thing in the address, such as the device that is open; '' takes it out. */
export function useParam(name: string): readonly [string, (value: string) => void] {
  const [params, setParams] = useSearchParams()
  const set = useCallback(
    (value: string) =>
      setParams(
        (now) => {
          const next = new URLSearchParams(now)
          if (value === '') next.delete(name)
          else next.set(name, value)
          return next
        },
        { replace: true },
      ),
    [name, setParams],
  )
  return [params.get(name) ?? '', set]
}
