/**
 * Aborts `controller` when one of `sources` is aborted, with the same reason, until what it gives back is called. Used in
 * place of `AbortSignal.any`: as soon as somebody listens to a signal of that, Node keeps it for as long as its sources
 * live, and the process's own live as long as the process.
 */
export function forwardAborts(controller: AbortController, sources: readonly AbortSignal[]): () => void {
  const forward = ({ target }: Event): void => controller.abort((target as AbortSignal).reason)
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason)
    else source.addEventListener('abort', forward)
  }
  return () => {
    for (const source of sources) source.removeEventListener('abort', forward)
  }
}

/** Runs `body` now, and forwards aborts until what it gives has settled. */
export function withAborts<T>(
  controller: AbortController,
  sources: readonly AbortSignal[],
  body: () => T,
): T {
  const unlink = forwardAborts(controller, sources)
  let isPending = false
  try {
    const given = body()
    isPending = typeof (given as { then?: unknown } | null | undefined)?.then === 'function'
    if (!isPending) return given
    // A lazy query does its work once for each `then`.
    const pending = Promise.resolve(given)
    pending.then(unlink, unlink)
    return pending as T
  } finally {
    if (!isPending) unlink()
  }
}
