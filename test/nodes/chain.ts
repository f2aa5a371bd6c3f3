import { PATHS } from '../../src/machineid/paths.ts'
import type { Cluster } from './cluster.ts'
import type { Running } from './result.ts'

/** G8: every node finds the org's audit chain intact, and all find the same. How many rows it has. */
export async function mustBeIntact(
  { nodes, keys }: Pick<Cluster, 'nodes' | 'keys'>,
  must: Running['must'],
): Promise<number> {
  const seen = await Promise.all(
    nodes.map((node) => node.operate(PATHS.auditVerify, undefined, { key: keys.viewer }, 120_000)),
  )
  for (const { status, body } of seen) {
    must(status === 200 && body.intact === true, `the audit chain: ${status} ${JSON.stringify(body)}`)
  }
  const heads = new Set(seen.map(({ body }) => JSON.stringify(body.head)))
  must(heads.size === 1, `nodes do not agree on the audit chain: ${[...heads].join(' ')}`)
  return Number(seen[0]?.body.rows)
}
