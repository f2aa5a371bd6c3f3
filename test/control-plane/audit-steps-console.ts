import { expect } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import { askedApproval, runReport } from '../fixtures/approvals.ts'
import { keyIdOf, type AuditWorld, type Step } from './audit-steps.ts'

/** What people do in a browser, and what tool servers bring for it. */
export function consoleSteps({ recovery, post }: Pick<AuditWorld, 'recovery' | 'post'>): readonly Step[] {
  const actorOf = (kind: KeyKind) => ({ actor: keyIdOf(recovery().authority.keys[kind]), actorKind: kind })
  const { approvalId, runId, callId, tool, surface, digest } = askedApproval('apr-1')
  const shown = { approvalId, runId, callId, tool, surface, digest }
  const adminKey = () => recovery().authority.keys.admin

  return [
    {
      name: 'calls that wait are brought to the desk, which decides nothing',
      act: () =>
        post(PATHS.approvals, { approvals: [askedApproval('apr-1'), askedApproval('apr-2')] }, 'runtime'),
      rows: () => [],
    },
    {
      name: 'one is approved',
      act: () => post(PATHS.approvalDecide, { digest, approve: true }, 'operator', approvalId),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'approval.approve',
          before: { state: 'waiting' },
          after: { ...shown, state: 'approved' },
        },
      ],
    },
    {
      name: 'one no longer waits',
      act: () => post(PATHS.approvalsWithdraw, { approvalIds: ['apr-2'] }, 'runtime'),
      rows: () => [],
    },
    {
      name: 'a tool server tells of its runs',
      act: () => post(PATHS.runsReport, runReport('run-1'), 'runtime'),
      rows: () => [],
    },
    {
      name: 'a drill is asked for where none can be run',
      act: () => post(PATHS.drillRun, {}, 'operator'),
      rows: () => [],
    },
    {
      name: 'somebody signs in',
      act: () => post(PATHS.session, { key: adminKey() }, 'nobody'),
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'session.start',
          after: { keyId: keyIdOf(adminKey()), kind: 'admin' },
        },
      ],
    },
    {
      name: 'a key alone has no session to refresh',
      act: () => post(PATHS.sessionRefresh, {}, 'admin'),
      rows: () => [],
    },
    {
      name: 'somebody signs out everywhere',
      act: () => post(PATHS.sessionEnd, { scope: 'mine' }, 'admin'),
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'session.end',
          after: { sessionId: expect.any(String), keyId: keyIdOf(adminKey()), endedAs: 'signed_out' },
        },
      ],
    },
  ]
}
