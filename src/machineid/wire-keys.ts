import { z } from 'zod'

import { redact } from '../redact.ts'
import { devicePattern, epoch, must, okFields, reason, text, wholeNumber } from './wire-fields.ts'
import { KEY_KINDS, orList } from './wire.ts'

const BINDINGS = must('a list of 1 to 64 device IDs or patterns')
export const KeyCreateRequest = z
  .object({
    kind: z.enum(KEY_KINDS, must(orList(KEY_KINDS))),
    name: text(1, 100).overwrite(redact).optional(),
    /** What a runtime key may ask for; `["*"]` is every device. */
    bindings: z.array(devicePattern, BINDINGS).min(1, BINDINGS).max(64, BINDINGS).optional(),
  })
  .refine(({ kind, bindings }) => (kind === 'runtime') === (bindings !== undefined), {
    message: 'Give "bindings" with kind "runtime" (["*"] is every device), and only then.',
  })
export const KeyRotateRequest = z.object({
  /** How long the old key goes on working. Default a day; 0 burns it at once. */
  overlapSeconds: wholeNumber(0, 30 * 86_400).optional(),
  reason: reason.optional(),
})
export const KeyBurnRequest = z.object({ reason: reason.optional() })
export const KeysQuery = z.object({})

/** A new key, shown once: only its digest is stored. */
const NewKey = { keyId: z.string(), key: z.string(), kind: z.enum(KEY_KINDS) }
export const KeyCreateResponse = z.object({ ...okFields, orgId: z.string(), ...NewKey })
export const KeyRotateResponse = z.object({
  ...okFields,
  orgId: z.string(),
  ...NewKey,
  /** The key that it replaces, and until when that one works. */
  replaces: z.object({ keyId: z.string(), endsAt: z.string() }),
})
/** A burn is a stop: when it is answered, the key is dead (G1). */
export const KeyBurnResponse = z.object({
  ...okFields,
  orgId: z.string(),
  keyId: z.string(),
  epoch,
  orgEpoch: epoch,
})
export const KeyListResponse = z.object({
  ...okFields,
  orgId: z.string(),
  keys: z.array(
    z.object({
      keyId: z.string(),
      kind: z.enum(KEY_KINDS),
      name: z.string().nullable(),
      /** What the key begins with, to find it in a secret store. */
      prefix: z.string(),
      bindings: z.array(z.string()).nullable(),
      /** `ending` while the overlap of a rotation lasts. */
      state: z.enum(['active', 'ending', 'expired', 'burned']),
      createdAt: z.string(),
      createdBy: z.string(),
      lastUsedAt: z.string().nullable(),
      endsAt: z.string().nullable(),
      endedAt: z.string().nullable(),
      replacedBy: z.string().nullable(),
    }),
  ),
})
