import { withoutFormula } from '../../../csv.ts'
import { ApiError, isOutcomeUnknown } from '../../api/api-error.ts'

/** The most devices that one call takes. */
export const MAX_CHUNK = 1000

/**
 * `unknown`: the call got no answer, so it may have been made. `not_tried`: a call before it failed, or somebody ended
 * it.
 */
export type Outcome = 'done' | 'refused' | 'unknown' | 'not_tried'
export interface DeviceResult {
  readonly deviceId: string
  readonly outcome: Outcome
  /** Why not. */
  readonly code?: string | undefined
  readonly message?: string | undefined
  /** After a restore: what denies it all the same. */
  readonly stillDeniedBy?: readonly string[] | undefined
}

export interface BatchOptions<T extends { readonly deviceId: string }> {
  readonly items: readonly T[]
  readonly chunkSize: number
  /** One call. Throws `ApiError`. */
  readonly run: (chunk: readonly T[]) => Promise<readonly DeviceResult[]>
  readonly onProgress: (done: number) => void
  /** Ends it after the call that is under way. */
  readonly signal: AbortSignal
}

/** What is about one device and says nothing of the next. */
const ABOUT_ONE = new Set([404, 409, 428])

/** Several calls, one after the other. The first that fails ends it, and nothing is repeated by itself. */
export async function runBatch<T extends { readonly deviceId: string }>({
  items,
  chunkSize,
  run,
  onProgress,
  signal,
}: BatchOptions<T>): Promise<readonly DeviceResult[]> {
  const results: DeviceResult[] = []
  let ended = false
  for (let start = 0; start < items.length; start += chunkSize) {
    const chunk = items.slice(start, start + chunkSize)
    if (ended || signal.aborted) {
      results.push(...chunk.map(({ deviceId }) => ({ deviceId, outcome: 'not_tried' as const })))
      continue
    }
    try {
      // oxlint-disable-next-line no-await-in-loop -- one at a time, so that a failure in the middle is told as that
      results.push(...(await run(chunk)))
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      const outcome = isOutcomeUnknown(error) ? 'unknown' : 'refused'
      const { code, message } = error
      results.push(...chunk.map(({ deviceId }) => ({ deviceId, outcome, code, message }) as const))
      ended = !ABOUT_ONE.has(error.status)
    }
    onProgress(Math.min(start + chunkSize, items.length))
  }
  return results
}

export const OUTCOMES: Readonly<Record<Outcome, string>> = {
  done: 'done',
  refused: 'refused',
  unknown: 'no answer: may have been made',
  not_tried: 'not tried',
}

const BECAUSE: Readonly<Record<string, string>> = {
  DEVICE_NOT_REGISTERED: 'It is not registered any more.',
  EPOCH_STALE: 'Somebody changed it after it was shown. Look at it again.',
}

export function whyNot({ code, message }: DeviceResult): string {
  return (code === undefined ? undefined : BECAUSE[code]) ?? message ?? code ?? ''
}

export function countOutcomes(results: readonly DeviceResult[]): Readonly<Record<Outcome, number>> {
  const counts = { done: 0, refused: 0, unknown: 0, not_tried: 0 }
  for (const { outcome } of results) counts[outcome]++
  return counts
}

/** For a spreadsheet or a ticket. What a spreadsheet would take for a formula is defused. */
export function resultsText(results: readonly DeviceResult[]): string {
  const cell = (text: string) => withoutFormula(text.replaceAll(/\s+/gu, ' '))
  const lines = results.map((result) =>
    [result.deviceId, OUTCOMES[result.outcome], result.code ?? '', (result.stillDeniedBy ?? []).join(' ')]
      .map(cell)
      .join('\t'),
  )
  return ['device\tresult\tcode\tstill denied by', ...lines].join('\n')
}
