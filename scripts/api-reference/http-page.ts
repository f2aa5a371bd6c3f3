// The page of the control plane's HTTP API, from the document that it serves at /openapi.json.

import { GENERATED } from './entry-page.ts'

interface Schema {
  readonly $ref?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly oneOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly additionalProperties?: boolean | Schema
  readonly [rule: string]: unknown
}

interface Body {
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>
}

interface Operation {
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly description?: string
    readonly schema?: Schema
  }[]
  readonly requestBody?: Body
  readonly responses: Readonly<
    Record<string, Body & { readonly $ref?: string; readonly description?: string }>
  >
}

export interface OpenApi {
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

type Row = readonly [string, string, string, string]

export function httpPage({ tags, paths, components }: OpenApi): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const sections = tags.flatMap(({ name, description }) => {
    const ofTag = operations.filter(({ operation }) => operation.tags?.[0] === name)
    return ofTag.length === 0 ? [] : [`## ${name}`, `${description}.`, ...ofTag.map(operationText)]
  })
  const schemas = Object.entries(components.schemas).map(([name, schema]) => schemaText(name, schema))
  return [
    '# The HTTP API of the control plane',
    GENERATED,
    'Every call with every field, as `GET /openapi.json` describes them. How they belong together, ports and codes: [http.md](../http.md).',
    ...sections,
    '## Bodies',
    ...schemas,
  ].join('\n\n')
}

function operationText({ path, method, operation }: Operated): string {
  const { summary = '', description = '', parameters = [], requestBody, responses } = operation
  const rows = parameters.map(
    ({ name, in: where, required = false, description: what = '', schema = {} }): Row => [
      `\`${name}\` (${where})`,
      typeOf(schema),
      required ? 'yes' : '',
      what,
    ],
  )
  const sent = bodyOf(requestBody)
  const answers = Object.entries(responses).map(([status, answer]) => {
    const codes = answer.$ref?.split('/').at(-1)?.split('.') ?? []
    const body = bodyOf(answer)
    const told = codes.length > 0 ? codes.map((code) => `\`${code}\``).join(', ') : (answer.description ?? '')
    return `- ${status}: ${[told, body].filter(Boolean).join(' ')}`
  })
  return [
    `### ${method.toUpperCase()} ${path}`,
    [summary.endsWith('.') || summary === '' ? summary : `${summary}.`, description]
      .filter(Boolean)
      .join(' '),
    table(rows),
    sent === '' ? '' : `Body: ${sent}`,
    answers.join('\n'),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

interface Operated {
  readonly path: string
  readonly method: string
  readonly operation: Operation
}

function bodyOf(body: Body | undefined): string {
  return Object.entries(body?.content ?? {})
    .map(([type, { schema = {} }]) =>
      type === 'application/json' ? typeOf(schema) : `\`${type}\` of ${typeOf(schema)}`,
    )
    .join('; ')
}

function schemaText(name: string, schema: Schema): string {
  const rows = fieldsOf(schema, '')
  const about = [schema.description ?? '', rows.length > 0 ? '' : `${typeOf(schema)}.`]
  return [`### ${name}`, about.filter(Boolean).join(' '), table(rows)].filter(Boolean).join('\n\n')
}

/** One row a field; those of objects within it under `outer.inner`, of lists under `outer[].inner`. */
function fieldsOf(schema: Schema, prefix: string): readonly Row[] {
  const { properties = {}, required = [] } = schema
  return Object.entries(properties).flatMap(([name, field]): Row[] => {
    const path = `${prefix}${name}`
    const inner = field.items ?? field
    const within = fieldsOf(inner, `${path}${field.items === undefined ? '' : '[]'}.`)
    const row: Row = [
      `\`${path}\``,
      typeOf(field),
      required.includes(name) ? 'yes' : '',
      field.description ?? '',
    ]
    return [row, ...within]
  })
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return refText(schema.$ref)
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.enum !== undefined)
    return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(' or ')
  const parts = schema.oneOf ?? schema.anyOf
  if (parts !== undefined) return parts.map(typeOf).join(' or ')
  if (schema.allOf !== undefined) return schema.allOf.map(typeOf).join(' and ')
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}${limitsOf(schema)}`
  const type = typeof schema.type === 'string' ? schema.type : (schema.type ?? ['anything']).join(' or ')
  return `${type}${limitsOf(schema)}`
}

function refText(ref: string): string {
  const name = ref.split('/').at(-1) ?? ref
  return `[${name}](#${name.toLowerCase()})`
}

function limitsOf({ minLength, maxLength, minimum, maximum, minItems, maxItems, format }: Schema): string {
  const range = (low: unknown, high: unknown, unit: string): string[] => {
    if (low !== undefined && typeof low !== 'number') return []
    if (high !== undefined && typeof high !== 'number') return []
    // What JSON can hold exactly is no limit worth a word.
    const top = high === Number.MAX_SAFE_INTEGER ? undefined : high
    if (top === undefined) return low === undefined || low === 0 || unit !== '' ? [] : [`from ${String(low)}`]
    return [low === undefined ? `up to ${String(top)}${unit}` : `${String(low)} to ${String(top)}${unit}`]
  }
  const limits = [
    ...range(minLength, maxLength, ' characters'),
    ...range(minItems, maxItems, ' items'),
    ...range(minimum, maximum, ''),
    ...(typeof format === 'string' ? [format] : []),
  ]
  return limits.length === 0 ? '' : `, ${limits.join(', ')}`
}

function table(rows: readonly Row[]): string {
  if (rows.length === 0) return ''
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [
    line(['field', 'type', 'required', 'what']),
    line(['---', '---', '---', '---']),
    ...rows.map(line),
  ].join('\n')
}
