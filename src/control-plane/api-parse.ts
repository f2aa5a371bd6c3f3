import type { z } from 'zod'

import { invalidDeviceId, Refusal } from './refusal.ts'

/** Names the field, never its value: that may be a key in the wrong place. */
export function parse<T>(schema: z.ZodType<T>, given: unknown): T {
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const { path = [], code, message = 'is not as expected' } = result.error.issues[0] ?? {}
  const [field] = path
  if (field === 'deviceId') throw invalidDeviceId((given as { deviceId?: unknown }).deviceId)
  if (field === undefined) {
    throw new Refusal('BAD_REQUEST', code === 'custom' ? message : 'The body must be a JSON object.')
  }
  if (path.at(-1) === 'deviceId' || path.at(-2) === 'deviceIds') {
    throw invalidDeviceId(valueAt(given, path), named(path))
  }
  throw new Refusal('BAD_REQUEST', `"${named(path)}" ${message}.`)
}

/** Below `labels` the names are the caller's own, and may be anything. */
function named([field, ...rest]: readonly PropertyKey[]): string {
  const parts = field === 'labels' ? [] : rest
  return parts.reduce<string>(
    (name, part) => (typeof part === 'number' ? `${name}[${part}]` : `${name}.${String(part)}`),
    String(field),
  )
}

function valueAt(given: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown>)?.[part], given)
}
