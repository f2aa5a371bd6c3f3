import { digestOf } from '../canonical-json.ts'

/** SHA-256 of what a model was told about how to call a tool. An approval given for another schema does not count. */
export function schemaDigestOf(tool: {
  readonly name: string
  readonly parameters?: unknown
  readonly strict?: boolean
}): string {
  return digestOf({ name: tool.name, parameters: tool.parameters ?? null, strict: tool.strict ?? null })
}
