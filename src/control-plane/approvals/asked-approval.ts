import { canonicalJson, digestOfText, isTooDeep } from '../../canonical-json.ts'
import { MAX_ARGUMENTS_BYTES, type AskedApproval } from '../../machineid/wire-approvals.ts'
import { redact } from '../../redact.ts'
import { Refusal } from '../refusal.ts'
import type { ApprovalRecord } from './approval-store.ts'

/** Whatever a key says: nothing takes a place at the desk for good. */
const MAX_WAIT_MS = 30 * 86_400_000

/**
 * What a tool server brings, as it is kept. The arguments stay exactly as they are: they are what would run, and what the
 * person who decides must see. Throws `BAD_REQUEST` when the digest is not theirs.
 */
export function askedApproval(
  asked: AskedApproval,
  at: number,
  by: { readonly keyId: string; readonly nowMs: number },
): ApprovalRecord {
  const { approvalId, argumentsJson, digest, schemaDigest, deviceIds } = asked
  const bad = (field: string, message: string) =>
    new Refusal('BAD_REQUEST', `"approvals[${at}].${field}" ${message}`)
  if (redact(approvalId) !== approvalId) throw bad('approvalId', 'looks like a key. Choose another id.')
  if (!isCanonical(argumentsJson)) {
    throw bad('argumentsJson', 'must be canonical JSON: names sorted, no white space, at most 128 deep.')
  }
  if (Buffer.byteLength(argumentsJson) > MAX_ARGUMENTS_BYTES) {
    throw bad('argumentsJson', `must be at most ${MAX_ARGUMENTS_BYTES} bytes.`)
  }
  if (digestOfText(argumentsJson) !== digest) {
    throw bad('digest', 'must be the SHA-256 of "argumentsJson", in hex.')
  }
  const expiresAtMs = Math.min(Date.parse(asked.expiresAt), by.nowMs + MAX_WAIT_MS)
  const ended = expiresAtMs <= by.nowMs
  return {
    approvalId,
    runId: redact(asked.runId),
    agent: redact(asked.agent),
    caller: redact(asked.caller),
    callId: redact(asked.callId),
    tool: redact(asked.tool),
    surface: redact(asked.surface),
    deviceIds: [...new Set(deviceIds)],
    digest,
    schemaDigest,
    argumentsJson,
    askedAtMs: by.nowMs,
    askedBy: by.keyId,
    expiresAtMs,
    state: ended ? 'expired' : 'waiting',
    endedAtMs: ended ? expiresAtMs : null,
    decidedBy: null,
    message: null,
  }
}

/** Whether both ask for the same call. Who asks, from where and until when is not part of it. */
export function isSameCall(one: ApprovalRecord, other: ApprovalRecord): boolean {
  return BOUND.every((name) => one[name] === other[name])
}

const BOUND = ['digest', 'schemaDigest', 'runId', 'callId', 'tool', 'surface'] as const

function isCanonical(text: string): boolean {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return false
  }
  return !isTooDeep(value) && canonicalJson(value) === text
}
