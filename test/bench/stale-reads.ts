// npm run proof:reads [-- READS [SEED]]: G1, the long form. See test/control-plane/stale-reads.ts.
import { randomInt } from 'node:crypto'

import { findStaleReads, summary } from '../control-plane/stale-reads.ts'

const [, , reads = '4000000', seed = String(randomInt(2 ** 31))] = process.argv
const result = await findStaleReads({ seed: Number(seed), reads: Number(reads) })
console.log(summary(result))
if (result.findings.length > 0) {
  console.log(result.findings.slice(0, 5))
  process.exitCode = 1
}
