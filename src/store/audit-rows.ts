import { chained } from '../control-plane/audit-chain.ts'
import type { AuditEntry, AuditRow } from '../control-plane/records.ts'
import { storableText } from './text.ts'

/** `entries` as the next rows of their org's chain, whose last is `last`: as they are stored, so that hashes hold. */
export function nextAuditRows(
  orgId: string,
  last: Pick<AuditRow, 'seq' | 'hash'> | undefined,
  entries: readonly AuditEntry[] = [],
): AuditRow[] {
  let before = last
  return entries.map((entry) => {
    const row = chained(orgId, before, storable(entry))
    before = row
    return row
  })
}

function storable(entry: AuditEntry): AuditEntry {
  const stored: Record<string, unknown> = { ...entry }
  for (const [name, value] of Object.entries(entry)) {
    if (typeof value === 'string') stored[name] = storableText(value)
  }
  // These two are kept as JSON, which can escape them.
  return { ...(stored as unknown as AuditEntry), before: entry.before ?? null, after: entry.after ?? null }
}
