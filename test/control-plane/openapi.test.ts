import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { VALIDATE_ROUTES } from '../../src/control-plane/api-validates.ts'
import { MEANINGS } from '../../src/control-plane/openapi-codes.ts'
import { DESCRIPTIONS } from '../../src/control-plane/openapi-glossary.ts'
import { REFUSALS } from '../../src/control-plane/refusal.ts'
import { managementSchemas } from '../../src/machineid/management-values.ts'
import { ChangeResponse, ListResponse, RegisterResponse } from '../../src/machineid/wire-devices.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { createContract, type Contract } from './openapi-contract.ts'

type Json = Record<string, unknown>

let authority: TestControlPlane
let document: Json
let contract: Contract
beforeAll(async () => {
  authority = await startTestControlPlane()
  document = (await authority.get(PATHS.openapi)).body
  contract = createContract(document)
})
afterAll(() => authority.close())

/** Every object in the document, with where it is. */
function* objectsIn(value: unknown, at = ''): Generator<[string, Json]> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield [at, value as Json]
  for (const [name, part] of Object.entries(value)) yield* objectsIn(part, `${at}/${name}`)
}

describe('GET /openapi.json', () => {
  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(structuredClone(document))).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
  })

  test('takes no key, and is the same on both lanes', async () => {
    const text = await (await fetch(`${authority.url}/openapi.json`)).text()
    const response = await fetch(`${authority.operatorUrl}/openapi.json`)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await response.text()).toBe(text)
    expect(text.length).toBeLessThan(220_000)
  })

  test('has the version of the package, and says nothing about where it runs', async () => {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })
    expect(document['info']).toMatchObject({ version: manifest.version })
    expect(JSON.stringify(document)).not.toMatch(/node_modules|\/src\/|\/home|127\.0\.0\.1|localhost/)
  })

  test('describes every path there is, and no other but the page for recovery', () => {
    const described = Object.keys(document['paths'] as Json).map((path) =>
      path.replaceAll(/\{(\w+)\}/g, ':$1'),
    )
    expect(described.toSorted()).toEqual([...Object.values(PATHS), '/recover'].toSorted())
  })

  test('names each call once', () => {
    const ids = contract.operations.map(({ id }) => id)
    expect(ids).toEqual([...new Set(ids)])
    for (const id of ids) expect(id).toMatch(/^(get|post)([A-Z][a-z]+)+$/)
  })

  test('every tag that is used is explained, and the other way round', () => {
    const paths = document['paths'] as Record<string, Record<string, { tags: string[] }>>
    const used = Object.values(paths).flatMap((methods) => Object.values(methods).flatMap(({ tags }) => tags))
    const explained = (document['tags'] as { name: string }[]).map(({ name }) => name)
    expect([...new Set(used)].toSorted()).toEqual(explained.toSorted())
  })

  test('every field and every parameter has a sentence', () => {
    const silent: string[] = []
    for (const [at, schema] of objectsIn(document)) {
      if (at.includes('/responses') || at.startsWith('/paths') !== at.includes('/parameters/')) continue
      if ('in' in schema && schema['description'] === undefined) {
        silent.push(`${at} ${String(schema['name'])}`)
      }
      for (const [name, field] of Object.entries((schema['properties'] ?? {}) as Record<string, Json>)) {
        if (field['description'] === undefined) silent.push(`${at} ${name}`)
      }
    }
    expect(silent, 'add them to openapi-glossary.ts').toEqual([])
  })

  test('no sentence is left over', () => {
    const said = new Set([...objectsIn(document)].map(([, { description }]) => description))
    expect(Object.entries(DESCRIPTIONS).filter(([, sentence]) => !said.has(sentence))).toEqual([])
  })

  test('every component is referred to', () => {
    const references = new Set([...objectsIn(document)].map(([, { $ref }]) => $ref))
    const { schemas, responses } = document['components'] as { schemas: Json; responses: Json }
    for (const name of Object.keys(schemas)) expect(references).toContain(`#/components/schemas/${name}`)
    for (const name of Object.keys(responses)) expect(references).toContain(`#/components/responses/${name}`)
  })

  test('every code that anything is refused with is described where it can come', () => {
    const described = new Set(
      contract.operations.flatMap(({ outcomes }) => [...outcomes].map((one) => one.split(' ')[1])),
    )
    // Of no call: the answer to a method that a path does not have.
    const others = ['METHOD_NOT_ALLOWED']
    for (const code of Object.keys(REFUSALS)) {
      expect(MEANINGS).toHaveProperty(code)
      if (!others.includes(code)) expect(described).toContain(code)
    }
  })

  test('names the kinds of keys that each call takes', () => {
    for (const { id, kinds } of contract.operations) {
      expect(KEY_KINDS, id).toEqual(expect.arrayContaining([...kinds]))
    }
    expect(contract.operations.find(({ id }) => id === 'postOrgEnable')?.kinds).toEqual(['admin', 'full'])
  })
})

describe('one contract for both sides', () => {
  const answerTo = (path: string, method: string) => {
    const paths = document['paths'] as Record<string, Record<string, { responses: { 200: Json } }>>
    return JSON.stringify(paths[path]?.[method]?.responses[200])
  }

  // A schema has its name in the document by being the very object that is exported under it.
  test('what the client knows answers by is what the calls are declared to answer', () => {
    const client = managementSchemas('holdpoint')
    expect(client.list).toBe(ListResponse)
    expect(answerTo(PATHS.list, 'get')).toContain('schemas/ListResponse"')
    expect(client.usage).toBe(UsageResponse)
    expect(answerTo(PATHS.usage, 'get')).toContain('schemas/UsageResponse"')
    expect(client.change).toBe(ChangeResponse)
    for (const path of [PATHS.revoke, PATHS.unrevoke, PATHS.remove]) {
      expect(answerTo(path, 'post')).toContain('schemas/ChangeResponse"')
    }
    const { status: _, ...fields } = RegisterResponse.shape
    expect((client.register as typeof RegisterResponse).shape).toMatchObject(fields)
    expect(answerTo(PATHS.register, 'post')).toContain('schemas/RegisterResponse"')
  })

  test('the lane that answers validates goes by the paths, methods and names that are described', async () => {
    for (const { method, path, handler } of VALIDATE_ROUTES) {
      const response = await fetch(`${authority.url}${path}`, { method })
      expect(await response.json()).toMatchObject({ code: 'KEY_MISSING', handler })
      const other = await fetch(`${authority.url}${path}`, { method: 'PUT' })
      const methods = VALIDATE_ROUTES.filter((route) => route.path === path).map((route) => route.method)
      expect(other.headers.get('allow')).toBe(methods.join(', ').toUpperCase())
    }
  })
})
