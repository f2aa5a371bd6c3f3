import fc from 'fast-check'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { backUp } from '../../../src/store/sqlite/backup.ts'
import { restoreBackup } from '../../../src/store/sqlite/restore-backup.ts'
import { askedApproval } from '../../fixtures/approvals.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'

let nowMs = Date.parse('2026-11-22T08:00:00Z')
const clock = { now: () => ({ monotonicMs: nowMs, wallMs: nowMs }) }

let authority: TestControlPlane
let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-approvals-'))
  authority = await startTestControlPlane({ clock })
  await authority.controlPlane.housekeeping.close()
})
afterAll(async () => {
  await authority.close()
  await rm(dir, { recursive: true })
})

const ids = ['a', 'b', 'c']
const KEY = { keyId: 'test', bindings: null }
const CALLER = { actor: 'test', kind: 'platform', requestId: null, origin: null } as const
const id = fc.constantFrom(...ids)
const moves = fc.array(
  fc.oneof(
    fc.record({ move: fc.constant('ask' as const), id, seconds: fc.integer({ min: -5, max: 20 }) }),
    fc.record({ move: fc.constantFrom('approve' as const, 'decline' as const), id }),
    fc.record({ move: fc.constant('withdraw' as const), id }),
    fc.record({ move: fc.constant('clock' as const), seconds: fc.integer({ min: -10, max: 15 }) }),
    fc.record({ move: fc.constant('tidy' as const) }),
  ),
  { minLength: 5, maxLength: 25 },
)

test('whatever happens in whatever order, an approval is decided at most once and leaves no final state', async () => {
  let round = 0
  await fc.assert(
    fc.asyncProperty(moves, async (history) => {
      const { service, orgId } = authority
      const run = ++round
      const named = (name: string) => `h${run}-${name}`
      const final = new Map<string, string>()
      const decided = new Map<string, number>()
      const digest = askedApproval('x').digest
      for (const step of history) {
        if (step.move === 'clock') nowMs += step.seconds * 1000
        else if (step.move === 'tidy') await authority.controlPlane.housekeeping.tick()
        else if (step.move === 'ask') {
          const expiresAt = new Date(nowMs + step.seconds * 1000).toISOString()
          await service.askApprovals(CALLER, orgId, KEY, [askedApproval(named(step.id), { expiresAt })])
        } else if (step.move === 'withdraw')
          await service.withdrawApprovals(CALLER, orgId, KEY, [named(step.id)])
        else {
          const approve = step.move === 'approve'
          const won = await service.decideApproval(CALLER, orgId, named(step.id), { digest, approve }).then(
            () => 1,
            () => 0,
          )
          decided.set(step.id, (decided.get(step.id) ?? 0) + won)
        }
        const page = await service.listApprovals(orgId, KEY, { ids: ids.map(named) }, { limit: 10 })
        for (const { approvalId, state } of page.approvals) {
          expect(state).toBe(final.get(approvalId) ?? state)
          if (state !== 'waiting') final.set(approvalId, state)
        }
      }
      expect(Math.max(0, ...decided.values())).toBeLessThanOrEqual(1)
    }),
    { numRuns: 60 },
  )
})

test('G6: what waits in a backup that is put back waits no more: it may have been decided since', async () => {
  const waits = askedApproval('from-before', { expiresAt: new Date(nowMs + 3600_000).toISOString() })
  await authority.post(PATHS.approvals, { approvals: [waits] }, authority.keys.runtime)
  const backup = join(dir, 'backup.db')
  await backUp({ from: authority.file, to: backup })
  const decided = { digest: waits.digest, approve: false }
  const path = PATHS.approvalDecide.replace(':id', waits.approvalId)
  expect((await authority.post(path, decided, authority.keys.operator)).status).toBe(200)
  await authority.kill()
  await restoreBackup({ backup, file: authority.file, keepKeys: true })
  await authority.restart()
  const { body } = await authority.get(PATHS.approval.replace(':id', waits.approvalId), authority.keys.viewer)
  expect(body.approval).toMatchObject({ state: 'withdrawn', decidedBy: null })
})
