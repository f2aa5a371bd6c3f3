import type {
  ApprovalRecord,
  NewApproval,
  NewRun,
  RunSave,
  RunStore,
} from '../../src/agents/hosted/run-store.ts'
import type { RefusalBody } from '../../src/agents/tool-answer.ts'
import type { Intent } from '../../src/guard/journal.ts'
import { intent } from './intent.ts'

export const LEASE_MS = 60_000
export const TTL_MS = 15 * 60_000

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

export function newRun(runId: string, fields: Partial<NewRun> = {}): NewRun {
  return { runId, caller: 'alice', agent: 'accounts', requestDigest: 'request-1', ...fields }
}

export function queuedRun(runId: string, delayMs = 0, fields: Partial<NewRun> = {}): NewRun {
  return newRun(runId, { queued: { input: bytes(`input of ${runId}`), delayMs }, ...fields })
}

export function newApproval(callId: string, fields: Partial<NewApproval> = {}): NewApproval {
  return {
    approvalId: `approval_${callId}`,
    callId,
    tool: 'send_payment',
    digest: `digest of ${callId}`,
    schemaDigest: 'schema-1',
    surface: 'payments',
    arguments: bytes(`{"call":"${callId}"}`),
    ttlMs: TTL_MS,
    ...fields,
  }
}

export function runSave(status: RunSave['status'], fields: Partial<RunSave> = {}): RunSave {
  const paused = status === 'interrupted'
  return {
    status,
    state: paused ? bytes('sealed') : undefined,
    output: undefined,
    resumable: paused,
    denial: undefined,
    problem: undefined,
    approvals: [],
    ...fields,
  }
}

export const paused = (...approvals: NewApproval[]): RunSave => runSave('interrupted', { approvals })

export const DENIAL: RefusalBody = {
  error: 'permission_denied',
  code: 'DEVICE_REVOKED',
  boundary: 'resume',
  device_id: 'openai-agent:test:tool-server:01',
  request_id: 'req_1',
  executed: false,
  effects: [],
  on_denied: 'tell',
  retryable: false,
  message: 'Permission was refused.',
}

/** A store with short words for what tests do again and again. */
export function runActions(store: RunStore) {
  const created = async (runId: string, fields: Partial<NewRun> = {}): Promise<string> => {
    const made = await store.create(newRun(runId, fields), LEASE_MS)
    if (!made.created || made.token === undefined) throw new Error(`${runId} was not created and claimed`)
    return made.token
  }
  const claimed = async (runId: string): Promise<string> => {
    const claim = await store.claim(runId, LEASE_MS)
    if (claim?.claimed !== true) throw new Error(`${runId} was not claimed`)
    return claim.token
  }
  return {
    created,
    claimed,
    /** A run that was saved this way, right after it was created. */
    saved: async (runId: string, save: RunSave, fields: Partial<NewRun> = {}): Promise<void> => {
      if (!(await store.save(await created(runId, fields), save))) throw new Error(`${runId} was not saved`)
    },
    status: async (runId: string) => (await store.find(runId))?.status,
    approve: (runId: string, callId: string) =>
      store.decide(runId, [{ approvalId: `approval_${callId}`, approve: true }], 'olga'),
    states: async (runId: string) =>
      Object.fromEntries((await store.approvalsOf(runId)).map((record) => [record.callId, record.state])),
    approval: async (runId: string, callId: string): Promise<ApprovalRecord> => {
      const records = await store.approvalsOf(runId)
      const record = records.findLast((one) => one.callId === callId)
      if (record === undefined) throw new Error(`no approval of ${callId}`)
      return record
    },
    /** The intent of one effect of a call, under its approval. */
    begin: (
      callId: string,
      useToken: string,
      { key = `effect of ${callId}`, retakeUnknown = false, ...fields }: BeginFields = {},
    ) =>
      store.journal.begin(intent(key, { callId, ...fields }), {
        leaseMs: LEASE_MS,
        retakeUnknown,
        approval: { approvalId: `approval_${callId}`, useToken },
      }),
  }
}

type BeginFields = Partial<Intent> & { readonly key?: string; readonly retakeUnknown?: boolean }
