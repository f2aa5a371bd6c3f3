import type { ToolInputParameters } from '@openai/agents'
import { z } from 'zod'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'

export interface ToolSchema {
  /** For `tool()`: what it parses never fails on arguments that do not fit; `issues` tells those apart. */
  readonly parameters: ToolInputParameters
  /** What is wrong with arguments as the SDK parsed them. Names places and what is expected there. */
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
  if (isZod(parameters))
    return {
      parameters: lenientZod(parameters) as typeof parameters & ToolInputParameters,
      issues: parsingIssues,
      toZod: () => parameters,
    }
  if ('~standard' in parameters)
    return {
      parameters: lenientStandard(parameters),
      issues: parsingIssues,
      toZod: (jsonSchema) => fromJsonSchema(toolName, jsonSchema),
    }
  const schema = fromJsonSchema(toolName, parameters)
  return {
    parameters,
    issues: (args) => issuesOf(schema.safeParse(args).error),
    toZod: () => schema,
  }
}

/** `path: message` for each issue of a zod or Standard Schema error; what is no such error has none. */
function issuesOf(error: unknown): readonly string[] {
  const issues = (error as { issues?: unknown } | undefined)?.issues
  if (!Array.isArray(issues)) return []
  return issues.map(({ path, message }: { path?: readonly unknown[]; message?: unknown }) =>
    path === undefined || path.length === 0
      ? String(message)
      : `${path.map(segmentOf).join('.')}: ${String(message)}`,
  )
}

/** Stands for arguments that do not fit. A symbol, because no JSON can forge it; plain, because the SDK copies plain data only. */
const ISSUES = Symbol('issues')

interface BadArguments {
  readonly [ISSUES]: readonly string[]
}

function badArguments(error: unknown): BadArguments {
  const issues = issuesOf(error)
  return { [ISSUES]: issues.length > 0 ? issues : ['These arguments could not be checked.'] }
}

function parsingIssues(args: unknown): readonly string[] {
  return (args as Partial<BadArguments> | null | undefined)?.[ISSUES] ?? []
}

/** Arguments that do not fit are no error here: by default the SDK would keep to itself what is wrong with them. */
function lenientZod(parameters: z.ZodType): z.ZodType {
  const parse = (input: unknown): unknown => {
    try {
      const parsed = parameters.safeParse(input)
      return parsed.success ? parsed.data : badArguments(parsed.error)
    } catch {
      // A schema that throws, or can only be parsed asynchronously.
      return badArguments(undefined)
    }
  }
  // zod's own clone keeps the descriptions, which the model sees.
  return Object.assign(z.core.clone(parameters), { parse })
}

function lenientStandard<P extends { readonly '~standard': object }>(parameters: P): P {
  const standard = parameters['~standard'] as { validate(input: unknown): unknown }
  const validate = (input: unknown): unknown => {
    const result = standard.validate(input)
    const failed = Boolean((result as { issues?: unknown }).issues)
    return failed ? { value: badArguments(result) } : result
  }
  const lenient = Object.create(standard, { validate: { value: validate } }) as object
  return Object.create(parameters, { '~standard': { value: lenient } }) as P
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
