import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

/** Resolves when more may be written, or when nobody is there any more to read it. Never rejects. */
export async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return
  const gone = new AbortController()
  const leave = () => gone.abort()
  response.once('close', leave)
  await once(response, 'drain', { signal: gone.signal }).catch(() => {})
  response.off('close', leave)
}
