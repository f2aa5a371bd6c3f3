// What openapi.json promises, and whether an answer keeps it. The judge is ajv, which has no part in making the
// document. It is stricter than the document: a field that is not described is a fault.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

import type { Answer } from './openapi-world.ts'

type Json = Record<string, unknown>

export interface Operation {
  readonly id: string
  readonly method: 'GET' | 'POST'
  /** With `{id}` for a part that varies. */
  readonly path: string
  readonly summary: string
  /** Empty where no key is taken. */
  readonly kinds: readonly string[]
  readonly takesPlatformToken: boolean
  readonly maxBodyBytes: number
  /** Names and schemas, references resolved. */
  readonly query: Readonly<Record<string, Json>>
  /** References resolved, all the way down. */
  readonly body: Json | undefined
  /** `status code` of each refusal, `200 content-type` of each answer, with ` preview` for the answer to a preview. */
  readonly outcomes: ReadonlySet<string>
}

export interface Contract {
  readonly document: Json
  readonly operations: readonly Operation[]
  /** Which documented outcome an answer is. Throws when it is none of them. */
  readonly outcomeOf: (operation: Operation, answer: Answer) => string
  /** Whether a body is one that may be sent. */
  readonly describes: (operation: Operation, body: unknown) => boolean
}

export function createContract(document: Json): Contract {
  const answers = judge(closed(document))
  answers.ajv.addFormat('date-time', (text) => isTime(text) && new Date(text).toISOString() === text)
  const requests = judge(document)
  requests.ajv.addFormat('date-time', isTime)
  requests.ajv.addFormat('email', /^[^@\s]+@[^@\s]+$/)
  const check = (pointer: string, value: unknown, what: string) => {
    const valid = answers.at(pointer)
    if (!valid(value)) throw new Error(`${what}: ${answers.ajv.errorsText(valid.errors)} in ${shown(value)}`)
  }
  const operations = operationsOf(document)
  return {
    document,
    operations,
    describes: ({ path, method }, body) => {
      const at = ['paths', path, method.toLowerCase(), 'requestBody', 'content', 'application/json', 'schema']
      return requests.at(pointerOf(document, at) ?? '')(body)
    },
    outcomeOf: (operation, answer) => {
      const { status, contentType, body } = answer
      const what = `${operation.id} answered ${status} ${contentType}`
      const at = ['paths', operation.path, operation.method.toLowerCase(), 'responses', String(status)]
      const pointer = pointerOf(document, at)
      const content =
        pointer === undefined ? {} : (lookUp(document, pointer)['content'] as Record<string, Json>)
      const described = content[contentType]
      if (described === undefined) {
        throw new Error(`${what}, which is not documented: ${shown(body)}`)
      }
      const typed = `${pointer}/content/${escaped(contentType)}`
      check(`${typed}/schema`, body, what)
      const each = ['x-event-schema', 'x-line-schema'].find((name) => name in described)
      if (each !== undefined) for (const item of answer.items) check(`${typed}/${each}`, item, what)
      if (status === 200) return `200 ${contentType}${isPreview(body) ? ' preview' : ''}`
      const outcome = `${status} ${(body as { code: string }).code}`
      return operation.outcomes.has(outcome) ? outcome : String(status)
    },
  }
}

function judge(document: Json) {
  // Lengths as the document says it counts them, not in code points.
  const ajv = new Ajv2020({ strict: false, unicode: false })
  ajv.addSchema(document, 'openapi')
  const compiled = new Map<string, ValidateFunction>()
  return {
    ajv,
    at: (pointer: string): ValidateFunction => {
      const known = compiled.get(pointer) ?? ajv.compile({ $ref: `openapi#${pointer}` })
      compiled.set(pointer, known)
      return known
    },
  }
}

function isTime(text: string): boolean {
  return !Number.isNaN(Date.parse(text))
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 500)
}

function isPreview(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'preview' in body
}

/** Nothing but what is described. */
function closed(document: Json): Json {
  const copy = structuredClone(document)
  const { schemas } = copy['components'] as { schemas: Json }
  const close = (schema: unknown): void => {
    if (typeof schema !== 'object' || schema === null) return
    if ('properties' in schema && !('additionalProperties' in schema)) {
      Object.assign(schema, { additionalProperties: false })
    }
    Object.values(schema).forEach(close)
  }
  close(schemas)
  return copy
}

function operationsOf(document: Json): Operation[] {
  const paths = document['paths'] as Record<string, Record<string, Json>>
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Operation => {
      const parameters = operation['parameters'] as { name: string; in: string; schema: Json }[]
      const { content } = (operation['requestBody'] ?? {}) as { content?: Json }
      const body = (content?.['application/json'] as { schema?: Json } | undefined)?.schema
      return {
        id: String(operation['operationId']),
        method: method === 'get' ? 'GET' : 'POST',
        path,
        summary: String(operation['summary']),
        kinds: (operation['x-key-kinds'] ?? []) as string[],
        takesPlatformToken: JSON.stringify(operation['security']).includes('platformToken'),
        maxBodyBytes: Number(operation['x-max-body-bytes'] ?? 0),
        query: Object.fromEntries(
          parameters
            .filter((parameter) => parameter.in === 'query')
            .map(({ name, schema }) => [name, resolved(document, schema)]),
        ),
        body: body && resolved(document, body),
        outcomes: new Set(outcomesOf(document, operation['responses'] as Record<string, Json>)),
      }
    }),
  )
}

function* outcomesOf(document: Json, responses: Record<string, Json>): Generator<string> {
  for (const [status, response] of Object.entries(responses)) {
    const { content } = resolved(document, response) as { content: Record<string, { schema: Json }> }
    for (const [contentType, { schema }] of Object.entries(content)) {
      const codes = codesIn(schema)
      if (status === '200') yield `200 ${contentType}`
      else if (codes.length === 0) yield status
      for (const code of codes) yield `${status} ${code}`
      if (JSON.stringify(schema).includes('"preview"')) yield `200 ${contentType} preview`
    }
  }
}

function codesIn({ allOf = [] }: Json): string[] {
  return (allOf as { properties?: { code?: { enum?: string[] } } }[]).flatMap(
    ({ properties }) => properties?.code?.enum ?? [],
  )
}

function resolved(document: Json, value: Json): Json {
  const { $ref, ...rest } = value
  const target = typeof $ref === 'string' ? { ...lookUp(document, $ref.slice(1)), ...rest } : value
  return Object.fromEntries(
    Object.entries(target).map(([name, part]) => [name, resolvedPart(document, part)]),
  )
}

function resolvedPart(document: Json, part: unknown): unknown {
  if (Array.isArray(part)) return part.map((item) => resolvedPart(document, item))
  return typeof part === 'object' && part !== null ? resolved(document, part as Json) : part
}

/** Where a place in the document is once a reference at its end is followed; undefined when there is no such place. */
function pointerOf(document: Json, path: readonly string[]): string | undefined {
  const pointer = path.map((part) => `/${escaped(part)}`).join('')
  const found = path.reduce<unknown>((value, part) => (value as Json | undefined)?.[part], document)
  if (found === undefined) return undefined
  const { $ref } = found as Json
  return typeof $ref === 'string' ? $ref.slice(1) : pointer
}

function lookUp(document: Json, pointer: string): Json {
  const path = pointer.slice(1).split('/')
  return path.reduce<unknown>(
    (value, part) => (value as Json)[part.replaceAll('~1', '/').replaceAll('~0', '~')],
    document,
  ) as Json
}

function escaped(part: string): string {
  return part.replaceAll('~', '~0').replaceAll('/', '~1')
}
