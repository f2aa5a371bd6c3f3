import type { Intent } from '../../src/guard/journal.ts'

export const DEADLINE_MS = 30_000

export function intent(key = 'k', fields: Partial<Intent> = {}): Intent {
  return {
    key,
    effect: 'refund',
    kind: 'payment',
    tool: 'refund_invoice',
    caller: 'alice',
    runId: 'run_1',
    callId: 'call_1',
    inputDigest: 'digest-1',
    input: '{"invoiceId":"INV-1001"}',
    deadlineMs: DEADLINE_MS,
    ...fields,
  }
}
