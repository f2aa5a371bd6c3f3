import { useQuery } from '@tanstack/react-query'

import type { ApiError } from '../../api/api-error.ts'
import { call } from '../../api/call.ts'
import type { Output } from '../../api/routes.ts'

type SetDevice = Output<'stopSet'>['devices'][number]

/** Every device of one stop, page by page. Asked again when something has changed. */
export function useStopSet(epoch: number) {
  return useQuery<readonly SetDevice[], ApiError>({
    queryKey: ['stopSet', { epoch }],
    queryFn: async ({ signal }) => {
      const devices: SetDevice[] = []
      let cursor: string | null = null
      do {
        const page: Output<'stopSet'> = await call(
          'stopSet',
          { epoch, limit: 1000, ...(cursor !== null && { cursor }) },
          { signal },
        )
        devices.push(...page.devices)
        cursor = page.nextCursor
      } while (cursor !== null)
      return devices
    },
  })
}
