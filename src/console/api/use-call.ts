import { keepPreviousData, useQuery, type UseQueryResult } from '@tanstack/react-query'

import type { ApiError } from './api-error.ts'
import { call } from './call.ts'
import type { CallName, Input, Output } from './routes.ts'

/**
 * What a GET answers, kept up to date: asked again every `everyMs`, which may depend on what was answered last, and when
 * something has changed (see live.ts).
 */
export function useCall<N extends CallName>(
  name: N,
  input: Input<N>,
  options: {
    readonly everyMs?: number | ((last: Output<N> | undefined) => number)
    readonly enabled?: boolean
  } = {},
): UseQueryResult<Output<N>, ApiError> {
  const { everyMs } = options
  return useQuery<Output<N>, ApiError>({
    queryKey: [name, input],
    queryFn: ({ signal }) => call(name, input, { signal }),
    refetchInterval:
      typeof everyMs === 'function' ? (query) => everyMs(query.state.data) : (everyMs ?? false),
    enabled: options.enabled ?? true,
    placeholderData: keepPreviousData,
  })
}
