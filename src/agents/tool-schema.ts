import type { ToolInputParameters } from '@openai/agents'
import { z } from 'zod'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'

export interface ToolSchema {
  /** What is wrong with parsed arguments that the SDK itself did not check: those described by JSON Schema. */
  readonly issues: (args: unknown) => readonly string[]
  /** The same parameters as zod. `parameters` is what the SDK made of them for the model. */
  readonly toZod: (parameters: Record<string, unknown>) => z.ZodType
}

/**
 * The SDK parses with zod and Standard Schema, and checks nothing against JSON Schema: that is checked here, and the
 * arguments stay as they came, since a second parse could change them. Throws `GUARD_MISCONFIGURED`.
 */
export function toolSchema(toolName: string, parameters: ToolInputParameters): ToolSchema {
  if (parameters === undefined || parameters === null) {
    throw new GuardMisconfiguredError(`Tool "${toolName}" needs parameters. For none at all: z.object({})`)
  }
  if (isZod(parameters)) return { issues: () => [], toZod: () => parameters }
  if ('~standard' in parameters)
    return { issues: () => [], toZod: (jsonSchema) => fromJsonSchema(toolName, jsonSchema) }
  const schema = fromJsonSchema(toolName, parameters)
  return {
    issues: (args) => issuesOf(schema.safeParse(args).error),
    toZod: () => schema,
  }
}

/** `path: message` for each issue of a zod or Standard Schema error; what is no such error has none. */
export function issuesOf(error: unknown): readonly string[] {
  const issues = (error as { issues?: unknown } | undefined)?.issues
  if (!Array.isArray(issues)) return []
  return issues.map(({ path, message }: { path?: readonly unknown[]; message?: unknown }) =>
    path === undefined || path.length === 0
      ? String(message)
      : `${path.map(segmentOf).join('.')}: ${String(message)}`,
  )
}

/** Why the SDK could not parse `text`, which by default it keeps to itself. */
export function argumentIssues(schema: z.ZodType, text: string): readonly string[] {
  let args: unknown
  try {
    args = JSON.parse(text)
  } catch {
    return ['The arguments are not well-formed JSON.']
  }
  const error = parseError(schema, args)
  // In strict mode a model gives null for what is optional, and the SDK takes that: null is a reason only if no other is.
  const notNull = error?.issues.filter(({ path }) => valueAt(args, path) !== null) ?? []
  return notNull.length > 0 ? issuesOf({ issues: notNull }) : issuesOf(error)
}

function parseError(schema: z.ZodType, args: unknown): z.ZodError | undefined {
  try {
    return schema.safeParse(args).error
  } catch {
    // A schema that can only be parsed asynchronously: the SDK refused it, and no more is known.
    return undefined
  }
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value)
}

/** Standard Schema allows path segments of the form `{ key }`. */
function segmentOf(segment: unknown): string {
  return typeof segment === 'object' && segment !== null && 'key' in segment
    ? String(segment.key)
    : String(segment)
}

/** By its mark, not by `instanceof`: the app may have loaded another copy of zod. */
function isZod(parameters: object): parameters is z.ZodType {
  return '_zod' in parameters
}

function fromJsonSchema(toolName: string, jsonSchema: object): z.ZodType {
  try {
    return z.fromJSONSchema(jsonSchema as Parameters<typeof z.fromJSONSchema>[0])
  } catch (cause) {
    throw new GuardMisconfiguredError(
      `Tool "${toolName}": arguments cannot be checked against this JSON Schema (${messageOf(cause)}). ` +
        'Write the parameters with zod instead.',
      { cause },
    )
  }
}
