import { MEANINGS, type CodesByStatus, type ErrorCode } from './openapi-codes.ts'
import type { Json } from './openapi-schemas.ts'

/** The refusals of all calls. Each is named by its codes, so that a reference says what it stands for. */
export interface Refusals {
  /** By status. Where one of the `own` codes is among them, the body is the `own` one. */
  readonly responses: (codes: CodesByStatus, own?: OwnRefusals) => Json
  /** By name, all that were asked for until now. */
  readonly components: () => Json
}

interface OwnRefusals {
  readonly codes: readonly ErrorCode[]
  readonly body: Json
}

export function createRefusals(error: Json): Refusals {
  const components: Json = {}
  const refer = (codes: readonly ErrorCode[]): Json => {
    const name = codes.join('.')
    components[name] ??= refusalOf(codes, error)
    return { $ref: `#/components/responses/${name}` }
  }
  return {
    responses: (codes, own) => {
      const isOwn = (of: readonly ErrorCode[]) => own?.codes.some((code) => of.includes(code)) === true
      return Object.fromEntries(
        [...codes].map(([status, of]) => [status, own && isOwn(of) ? refusalOf(of, own.body) : refer(of)]),
      )
    },
    components: () => components,
  }
}

function refusalOf(codes: readonly ErrorCode[], error: Json): Json {
  return {
    description: codes.map((code) => `\`${code}\`: ${MEANINGS[code]}.`).join(' '),
    content: {
      'application/json': { schema: { allOf: [error, { properties: { code: { enum: codes } } }] } },
    },
  }
}
