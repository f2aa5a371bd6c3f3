import { functionCall } from '@openai/agents/testing'
import { z } from 'zod'
import { guardedTool, type Guard } from 'holdpoint'

// A surface per tenant: the third segment is the same for all of them, so that one lock stops them together.

export const TENANT = (tenant: string) => `openai-agent:test:tenant:${tenant}:01`
export const TENANTS = { 'tenant-a': TENANT('a'), 'tenant-b': TENANT('b') }
/** Beside those of the tenants. */
export const SURFACES = { ...TENANTS, email: 'openai-agent:test:email:01' }

export const byTenant = (guard: Guard) =>
  guard.surfaceBy(Object.keys(TENANTS), (args: { tenant: string }) => `tenant-${args.tenant}`)

export interface Export {
  readonly tenant: string
  readonly report: string
}

export interface ExportOptions {
  readonly onDenied?: 'stop'
  readonly needsApproval?: true | ((context: unknown, args: Export) => boolean)
  readonly timeoutMs?: number
  readonly isEnabled?: () => boolean
  /** Default: `byTenant`. */
  readonly place?: Parameters<typeof guardedTool>[0]
}

/** Exports one report of one tenant. The schema lowers the tenant's name, and has a default for it. */
export function exportTool(
  guard: Guard,
  exported: (args: Export, signal: AbortSignal) => unknown,
  { place, ...options }: ExportOptions = {},
) {
  return guardedTool((place as ReturnType<typeof byTenant> | undefined) ?? byTenant(guard), {
    name: 'export_report',
    description: 'Export one report of one tenant',
    parameters: z.object({ tenant: z.string().toLowerCase().default('b'), report: z.string() }),
    effect: 'publish',
    key: ({ tenant, report }) => `${tenant}:${report}`,
    commit: (args, { signal }) => exported(args, signal),
    ...options,
  })
}

export function exportCall(callId: string, tenant: string | undefined, report = 'r1') {
  return functionCall('export_report', { ...(tenant === undefined ? {} : { tenant }), report }, { callId })
}
