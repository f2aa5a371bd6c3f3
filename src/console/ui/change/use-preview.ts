import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'

import type { ApiError } from '../../api/api-error.ts'
import { preview, type PreviewAnswer } from '../../api/call.ts'
import type { CallName } from '../../api/routes.ts'

/**
 * What a stop would hit, as the control plane says: asked anew for each `input` and each time it is enabled, and then as
 * it was shown, so that a stop can tell whether the org has changed since.
 */
export function usePreview(name: CallName, input: object, enabled: boolean) {
  return usePreviewBy([name, input], (signal) => preview(name, input, { signal }), { enabled })
}

/** The same for a preview that takes more than one call. */
export function usePreviewBy(
  key: readonly unknown[],
  ask: (signal: AbortSignal) => Promise<PreviewAnswer>,
  {
    enabled,
    select,
  }: { readonly enabled: boolean; readonly select?: ((preview: PreviewAnswer) => PreviewAnswer) | undefined },
) {
  const [opening, setOpening] = useState(0)
  const [was, setWas] = useState(enabled)
  if (was !== enabled) {
    setWas(enabled)
    setOpening(opening + 1)
  }
  return useQuery<PreviewAnswer, ApiError>({
    queryKey: [...key, 'preview', opening],
    queryFn: ({ signal }) => ask(signal),
    // Once it is there, whatever asks for everything anew leaves it alone.
    enabled: ({ state }) => enabled && state.data === undefined,
    ...(select && { select }),
    gcTime: 0,
  })
}
