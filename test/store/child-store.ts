// A store in a process of its own, for tests that break its disk: `node child-store.ts FILE` raises the epoch of one
// org again and again and prints each ack, then how the first error was met. `node child-store.ts FILE UID` does so
// as that user, once the program is loaded: another user need not be able to read it where it lies.

import type { HoldpointError } from '../../src/errors.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { auditEntry, ORG } from '../contract/control-plane-records.ts'

const tell = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)
const codeOf = (thrown: unknown) => (thrown as HoldpointError | undefined)?.code
const [, , file = '', uid] = process.argv
if (uid !== undefined) process.setuid?.(Number(uid))

try {
  const store = openControlPlaneStore({ file })
  const raise = async () => {
    const { result } = await store.change(ORG.orgId, {}, (found) => {
      const epoch = (found?.org.epoch ?? 0) + 1
      const audit = [auditEntry('raise', { reason: 'x'.repeat(500), after: { epoch } })]
      return { org: { ...ORG, epoch }, audit, result: epoch }
    })
    tell({ acked: result })
  }
  try {
    for (let turn = 0; turn < 3000; turn++) await raise()
  } catch (thrown) {
    const again = await raise().catch(codeOf)
    tell({
      error: codeOf(thrown),
      message: (thrown as Error).message,
      problem: codeOf(store.problem()),
      again,
    })
  }
} catch (thrown) {
  tell({ refused: codeOf(thrown), message: (thrown as Error).message })
}
