import { getCurrentTrace, withCustomSpan } from '@openai/agents'
import type { Decision } from '../guard/decision.ts'
import type { HoldPoint } from '../guard/guard.ts'

/** A span `guard.validate` around each question, child of the tool's span. Outside a trace nothing: it would throw. */
export function traceQuestion(at: HoldPoint, verdict: Promise<Decision>): void {
  if (getCurrentTrace() === null) return
  const data: Record<string, unknown> = { boundary: at.boundary, surface: at.surface.name }
  const span = withCustomSpan(
    async (current) => {
      const decision = await verdict
      const { allowed, code, requestId } = decision
      Object.assign(current.spanData.data, { allowed, code, request_id: requestId })
      if (!allowed) current.setError({ message: 'denied', data: { code } })
    },
    { data: { name: 'guard.validate', data } },
  )
  span.catch(() => undefined)
}
