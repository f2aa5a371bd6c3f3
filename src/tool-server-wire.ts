import { z } from 'zod'

// What a tool server tells an operator, and how it lets itself be drilled: the contract between tool-server/ and cli/.

export const TOOL_SERVER_PATHS = {
  inspect: '/inspect',
  canary: '/canary/:surface',
  readyz: '/readyz',
  runs: '/runs',
} as const

const Effect = z.object({
  name: z.string(),
  kind: z.string(),
  /** Several where it is chosen for each call. */
  surfaces: z.array(z.string()),
  /** `business`: a repeat is recognised whoever makes it. `each-call`: only by its call id. */
  key: z.enum(['business', 'each-call']),
  reconcile: z.boolean(),
  onStop: z.enum(['finish', 'abort']),
})

/** `GET /inspect`, for callers with `runs:approve`: how it is set up. Never a secret, never data. */
export const InspectResponse = z.object({
  replica: z.string(),
  serverDeviceId: z.string(),
  surfaces: z.array(z.object({ name: z.string(), deviceIds: z.array(z.string()) })),
  /** `holdpoint`, `machineid`, or `custom` for an authority that is none of ours. */
  profile: z.string(),
  authority: z.object({
    origin: z.string().nullable(),
    answered: z.boolean().nullable(),
    code: z.string().nullable(),
  }),
  now: z.iso.datetime(),
  timeoutMs: z.number(),
  latencyMs: z.object({ p50: z.number(), p99: z.number() }).nullable(),
  stopStream: z.object({
    state: z.enum(['up', 'down', 'off']),
    since: z.iso.datetime().nullable(),
    /** Why it is down, or off. */
    reason: z.string().nullable(),
    keyKind: z.string().nullable(),
  }),
  inFlight: z.array(z.object({ deviceId: z.string(), inFlight: z.number().int() })),
  tools: z.array(
    z.object({
      name: z.string(),
      /** Several where it is chosen from the arguments of each call; none for a tool that is not guarded. */
      surfaces: z.array(z.string()),
      /** Tools of an agent that are not guarded are listed too. */
      guarded: z.boolean(),
      agent: z.string().nullable(),
      effects: z.array(Effect),
    }),
  ),
  journal: z.object({
    kind: z.string(),
    journalMode: z.string().nullable(),
    synchronous: z.string().nullable(),
    unknownOutcomes: z.number().int().nullable(),
  }),
})
export type InspectBody = z.infer<typeof InspectResponse>

/**
 * `POST /canary/:surface`, for callers with `tools:call` or `runs:approve`: a guarded call on that surface which does
 * nothing but wait. It passes the hold points of a real one, `tool` and `side_effect`, with the canary's device asked
 * about beside the surface's.
 */
export const CanaryRequest = z.strictObject({
  /** Default: none, so that only the surface's own devices are asked about. */
  canaryDeviceId: z.string().max(128).optional(),
  /** Where it waits. `side_effect` passes both hold points. Default `side_effect`. */
  boundary: z.enum(['tool', 'side_effect']).optional(),
  /** How long its body waits, unless a stop ends it, in milliseconds. */
  holdMs: z.number().int().min(0).max(30_000),
})
export type CanaryRequest = z.infer<typeof CanaryRequest>
export const CanaryResponse = z.object({
  replica: z.string(),
  started: z.boolean(),
  /** How long before this answer its body started, on the server's monotonic clock, in milliseconds. */
  startedAgoMs: z.number().nonnegative().nullable(),
  /** `stop`: its signal was aborted. `time`: it waited to its end. Null when it did not start. */
  endedBy: z.enum(['stop', 'time']).nullable(),
  code: z.string(),
  boundary: z.string(),
  deviceId: z.string(),
  requestId: z.string(),
})
export type CanaryBody = z.infer<typeof CanaryResponse>
