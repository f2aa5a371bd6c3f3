import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'

import * as approvals from '../machineid/wire-approvals.ts'
import * as devices from '../machineid/wire-devices.ts'
import * as drills from '../machineid/wire-drills.ts'
import * as evidence from '../machineid/wire-evidence.ts'
import * as fields from '../machineid/wire-fields.ts'
import * as keys from '../machineid/wire-keys.ts'
import * as locks from '../machineid/wire-locks.ts'
import * as orgs from '../machineid/wire-orgs.ts'
import * as runs from '../machineid/wire-runs.ts'
import * as sessions from '../machineid/wire-sessions.ts'
import * as stops from '../machineid/wire-stops.ts'
import * as wire from '../machineid/wire.ts'
import { DESCRIPTIONS, SHARED_FIELDS } from './openapi-glossary.ts'

export type Json = Record<string, unknown>

/** The schemas that parse requests, and that the client knows answers by, as JSON Schema. */
export interface Schemas {
  /** Of something that is sent: a reference where the schema has a name, else the schema itself. */
  readonly request: (schema: z.ZodType) => Json
  readonly answer: (schema: z.ZodType) => Json
  /** What a reference stands for in a request. */
  readonly resolve: (schema: Json) => Json
  /** By name, all that is referred to, directly or not, by what is sent and by what is answered. */
  readonly components: (document: { readonly sent: unknown; readonly answered: unknown }) => Json
}

type Named = Readonly<Record<string, Json>>

/** Each schema of the wire goes by the name that it is exported under. `others` are those without one. */
export function createSchemas(others: Iterable<z.ZodType>): Schemas {
  const names = namesOf(others)
  const requests = convert(names, 'input')
  const answers = convert(names, 'output')
  const refer = (schemas: Named) => (schema: z.ZodType) => {
    const id = names.get(schema)?.id
    if (id === undefined) throw new Error('A schema was not handed over.')
    return id.startsWith(UNNAMED) ? (schemas[id] as Json) : { $ref: `${REF}${id}` }
  }
  return {
    request: refer(requests),
    answer: refer(answers),
    resolve: (schema) => requests[nameIn(schema) ?? ''] ?? schema,
    components: (document) => {
      const sent = referredTo(document.sent, requests)
      const answered = referredTo(document.answered, answers)
      for (const [name, schema] of Object.entries(sent)) {
        if (isDeepStrictEqual(answered[name] ?? schema, schema)) continue
        throw new Error(`${name} is not the same in a request and in an answer: give one another name.`)
      }
      const all = Object.entries({ ...sent, ...answered })
      return Object.fromEntries(all.toSorted(([a], [b]) => (a < b ? -1 : 1)))
    },
  }
}

const REF = '#/components/schemas/'
const UNNAMED = '-'

type Names = z.core.$ZodRegistry<{ id: string }>

function namesOf(others: Iterable<z.ZodType>): Names {
  const names: Names = z.registry()
  const rooms = {
    ...wire,
    ...fields,
    ...devices,
    ...locks,
    ...keys,
    ...orgs,
    ...evidence,
    ...stops,
    ...drills,
    ...approvals,
    ...runs,
    ...sessions,
  }
  for (const [schema, { name }] of SHARED_FIELDS) names.add(schema, { id: name })
  for (const [name, value] of Object.entries<unknown>(rooms)) {
    if (value instanceof z.ZodType && /^[A-Z]/.test(name)) names.add(value, { id: name })
  }
  for (const [index, schema] of [...others].entries()) {
    if (!names.has(schema)) names.add(schema, { id: `${UNNAMED}${index}` })
  }
  return names
}

function convert(names: Names, io: 'input' | 'output'): Named {
  const { schemas } = z.toJSONSchema(names, {
    io,
    // What a transform makes of a query is no part of any answer.
    unrepresentable: io === 'output' ? 'any' : 'throw',
    target: 'draft-2020-12',
    metadata: z.registry(),
    uri: (id) => `${REF}${id}`,
    override: ({ zodSchema, jsonSchema }) => {
      Object.assign(jsonSchema, SHARED_FIELDS.get(zodSchema)?.schema)
      tidy(jsonSchema)
    },
  })
  return Object.fromEntries(
    Object.entries<Json>(schemas).map(([name, schema]) => [name, describe(name, withoutAddress(schema))]),
  )
}

function withoutAddress(schema: Json): Json {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== '$schema' && name !== '$id'))
}

/** Leaves out what holds of every JSON number and string, and lets answers gain fields. */
function tidy(schema: z.core.JSONSchema.BaseSchema): void {
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum
  if (schema.minLength === 0) delete schema.minLength
  if (schema.format !== undefined) delete schema.pattern
  if (schema.additionalProperties === false) delete schema.additionalProperties
}

/** `schema` with a sentence for each of its fields. */
function describe(name: string, schema: Json): Json {
  const description = DESCRIPTIONS[name]
  return { ...(description !== undefined && { description }), ...describedParts(name, schema) }
}

function describedParts(name: string, schema: Json): Json {
  const parts = Object.entries(schema).map(([keyword, value]) => {
    if (keyword === 'properties') return [keyword, describedFields(name, value as Record<string, Json>)]
    if (keyword === 'items' || keyword === 'additionalProperties') {
      return [keyword, typeof value === 'object' ? describedParts(name, value as Json) : value]
    }
    if (keyword === 'oneOf' || keyword === 'anyOf') {
      return [keyword, (value as Json[]).map((part) => describedParts(name, part))]
    }
    return [keyword, value]
  })
  return Object.fromEntries(parts) as Json
}

function describedFields(name: string, fields: Record<string, Json>): Json {
  return Object.fromEntries(
    Object.entries(fields).map(([field, schema]) => {
      const description = DESCRIPTIONS[`${name}.${field}`] ?? DESCRIPTIONS[field]
      return [
        field,
        { ...(description !== undefined && { description }), ...describedParts(`${name}.${field}`, schema) },
      ]
    }),
  )
}

function nameIn({ $ref }: Json): string | undefined {
  return typeof $ref === 'string' && $ref.startsWith(REF) ? $ref.slice(REF.length) : undefined
}

function referredTo(document: unknown, schemas: Named): Named {
  const found: Record<string, Json> = {}
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    const name = nameIn(value as Json)
    if (name !== undefined && found[name] === undefined) look((found[name] = schemas[name] as Json))
    Object.values(value).forEach(look)
  }
  look(document)
  return found
}
