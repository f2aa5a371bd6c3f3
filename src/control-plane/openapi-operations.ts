import { PreviewResponse } from '../machineid/wire-devices.ts'
import { PreviewQuery } from '../machineid/wire-fields.ts'
import { MAX_BODY_BYTES, orList } from '../machineid/wire.ts'
import { codesOf, takesCookie, type DescribedRoute } from './openapi-codes.ts'
import type { Refusals } from './openapi-refusals.ts'
import type { Json, Schemas } from './openapi-schemas.ts'

interface Parts {
  readonly schemas: Schemas
  readonly refusals: Refusals
}

/** What openapi.json says of one call. */
export function operationOf(route: DescribedRoute, parts: Parts): Json {
  const { schemas } = parts
  const { method, path, summary, bodyLimitBytes = MAX_BODY_BYTES } = route
  const input = schemas.request(route.input)
  const fields = schemas.resolve(input)
  const body = {
    'x-max-body-bytes': bodyLimitBytes,
    requestBody: { required: !route.input.safeParse({}).success, content: json(input) },
  }
  return {
    operationId: operationIdOf(method, path),
    summary,
    description: describe(route),
    tags: [tagOf(path)],
    ...securityOf(route),
    parameters: parametersOf(route, fields, schemas),
    ...(method === 'post' && body),
    responses: { 200: answerOf(route, schemas), ...refusalsOf(route, fields, parts) },
  }
}

function describe({ access, stop, hasPreview, outputType }: DescribedRoute): string {
  const sentences = [
    whoMay(access),
    stop === true && 'A stop: durable when it is answered, and never limited.',
    hasPreview && 'With `?preview=true` it says what it would hit, and changes nothing.',
    outputType !== undefined && 'The header `last-event-id` continues where another stream ended.',
  ]
  return sentences.filter(Boolean).join(' ')
}

function whoMay(access: DescribedRoute['access']): string {
  if (access === 'none') return 'Takes no key.'
  if (access === 'platform') return 'Takes the platform token.'
  if (access === 'open') {
    return 'Takes the platform token; nothing where none is set and only this machine can reach the control plane.'
  }
  return `Takes a key of kind ${orList(access)}.`
}

/** For example `postDevicesRevokeBatch`. */
function operationIdOf(method: string, path: string): string {
  const words = path.replace('/api/v1/', '').replace(/:id$/, 'by/id').split(/[/_-]/)
  const fixed = words.filter((word) => !word.startsWith(':'))
  return method + fixed.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}

/** The part of the API that a call belongs to. */
function tagOf(path: string): string {
  const [part = '', of = ''] = path.replace('/api/v1/', '').split('/')
  if (part === 'usage') return 'org'
  return part === 'org' && ['keys', 'owners', 'recover'].includes(of) ? of : part
}

function securityOf({ access, method, ofAgents }: DescribedRoute): Json {
  if (access === 'none') return { security: [] }
  if (access === 'platform') return { security: [{ platformToken: [] }] }
  if (access === 'open') return { security: [{ platformToken: [] }, {}] }
  const cookie = method === 'post' ? { session: [], csrfToken: [] } : { session: [] }
  const security = takesCookie({ access, ofAgents }) ? [{ orgKey: [] }, cookie] : [{ orgKey: [] }]
  return { security, 'x-key-kinds': access }
}

function parametersOf({ method, path, hasPreview }: DescribedRoute, fields: Json, schemas: Schemas): Json[] {
  const description = 'As the list of them has it.'
  const id = { name: 'id', in: 'path', required: true, description, schema: { type: 'string' } }
  return [
    ...(path.includes(':id') ? [id] : []),
    ...(method === 'get' ? queryOf(fields) : []),
    ...(hasPreview ? queryOf(schemas.resolve(schemas.request(PreviewQuery))) : []),
  ]
}

function queryOf({ properties = {}, required = [] }: Json): Json[] {
  return Object.entries(properties as Record<string, Json>).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: (required as string[]).includes(name),
    description,
    schema,
  }))
}

function answerOf({ output, outputType, hasPreview, lines }: DescribedRoute, schemas: Schemas): Json {
  const schema = schemas.answer(output)
  if (outputType !== undefined) {
    const text = {
      type: 'string',
      description: 'Server-sent events. The data of each is one `x-event-schema`.',
    }
    return { description: 'A stream.', content: { [outputType]: { schema: text, 'x-event-schema': schema } } }
  }
  const one = hasPreview ? { oneOf: [schema, schemas.answer(PreviewResponse)] } : schema
  if (lines === undefined) return { description: 'Done.', content: json(one) }
  const text = { type: 'string', description: 'JSON lines. Each is one `x-line-schema`.' }
  const table = { type: 'string', description: 'CSV (RFC 4180) with a header row, of the same members.' }
  const exported = {
    'application/x-ndjson': { schema: text, 'x-line-schema': schemas.answer(lines) },
    'text/csv': { schema: table },
  }
  return { description: 'Done.', content: { ...json(one), ...exported } }
}

function refusalsOf(route: DescribedRoute, fields: Json, { schemas, refusals }: Parts): Json {
  const codes = codesOf(route, {
    fields: Object.keys(fields['properties'] ?? {}).length > 0,
    // Refused with a code of their own.
    deviceId: JSON.stringify(fields).includes('schemas/DeviceId"'),
  })
  const { refused, refusals: own = [] } = route
  return refusals.responses(codes, refused && { codes: own, body: schemas.answer(refused) })
}

export function json(schema: Json): Json {
  return { 'application/json': { schema } }
}
