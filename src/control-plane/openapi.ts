import { CSRF_HEADER, SESSION_COOKIE } from '../machineid/wire-sessions.ts'
import { ErrorResponse, KEY_HEADER } from '../machineid/wire.ts'
import { packageVersion } from '../package-version.ts'
import { VALIDATE_ROUTES } from './api-validates.ts'
import type { DescribedRoute } from './openapi-codes.ts'
import { operationOf } from './openapi-operations.ts'
import { plainPaths } from './openapi-plain.ts'
import { createRefusals } from './openapi-refusals.ts'
import { createSchemas, type Json } from './openapi-schemas.ts'
import { STOP_STREAM_ROUTE } from './stops/stop-route.ts'

/** OpenAPI 3.1 of the whole API, made of the schemas that parse its requests. */
function openapiDocument(routes: readonly DescribedRoute[]): Json {
  const all = [...VALIDATE_ROUTES, STOP_STREAM_ROUTE, ...routes]
  const schemas = createSchemas(
    all.flatMap(({ input, output, refused = [], lines = [] }) => [input, output].concat(refused, lines)),
  )
  const refusals = createRefusals(schemas.answer(ErrorResponse))
  const paths: Record<string, Record<string, Json>> = {}
  for (const route of all) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method]: operationOf(route, { schemas, refusals }) }
  }
  Object.assign(paths, plainPaths(refusals))
  const operations = Object.values(paths).flatMap((path) => Object.values(path))
  const answered = [operations.map(({ responses }) => responses), refusals.components()]
  const sent = operations.map(({ parameters, requestBody }) => [parameters, requestBody])
  return {
    openapi: '3.1.0',
    info: { title: 'holdpoint control plane', version: packageVersion(), description: DESCRIPTION },
    servers: [{ url: '/' }],
    tags: TAGS.map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: schemas.components({ sent, answered }),
      responses: refusals.components(),
      securitySchemes: SECURITY_SCHEMES,
    },
  }
}

/** The document as text, made when it is first asked for. */
export function openapiText(routes: readonly DescribedRoute[]): () => string {
  let text: string | undefined
  return () => (text ??= JSON.stringify(openapiDocument(routes)))
}

const DESCRIPTION = [
  'The authority that agents ask before they act. A superset of the MachineID API.',
  'Only `allowed: true` in a complete answer to a validate is a yes; everything else, and no answer, is a no.',
  'A stop is durable when it is answered. What turns a no into a yes takes `ifEpoch`, the epoch that was seen last.',
  'Lengths of strings are counted in UTF-16 code units: a character beyond U+FFFF is two.',
  'Answers may gain fields. Every refusal is an `ErrorResponse` with a stable `code`; it has changed nothing.',
  'Beside what each call says: a path that is not here is answered 404 `NOT_FOUND`, another method 405 ' +
    '`METHOD_NOT_ALLOWED`, and what is no HTTP 400, 408, 413 or 431. 500 `INTERNAL` is a defect, please report it.',
].join('\n\n')

const TAGS = [
  ['devices', 'Register, validate, stop, restore'],
  ['locks', 'Stop a whole surface, present and future devices'],
  ['org', 'The org, its plan and its switch'],
  ['keys', 'Issue, rotate, burn'],
  ['owners', 'Whom recovery mails to'],
  ['recover', 'A new admin key by mail'],
  ['session', 'A person in a browser'],
  ['decisions', 'Why was this denied'],
  ['feed', 'What happens, as it happens'],
  ['audit', 'What was changed, by whom'],
  ['stops', 'Stops as they happen, and whether each is confirmed'],
  ['replicas', 'Who listens'],
  ['presence', 'Being there'],
  ['approvals', 'Calls that wait for a person'],
  ['runs', 'What tool servers tell of the runs they host'],
  ['drills', 'Stops that were measured, signed'],
  ['diagnosis', 'How the authority is set up'],
  ['service', 'Health, figures, this document'],
] as const

const SECURITY_SCHEMES = {
  orgKey: {
    type: 'apiKey',
    in: 'header',
    name: KEY_HEADER,
    description:
      'A key of the org. Its kind says what it may do: runtime (register, validate), viewer, stop (see and stop), ' +
      'operator (stop and restore), admin (everything of the org), full (everything, as MachineID has it). ' +
      '`x-key-kinds` of a call names those that it takes.',
  },
  session: {
    type: 'apiKey',
    in: 'cookie',
    name: SESSION_COOKIE.loopback,
    description:
      'A person who signed in (POST /api/v1/session), in place of the key: the same kinds may do the same. On the ' +
      `operator port only. Over HTTPS its name is \`${SESSION_COOKIE.https}\`. A call with a key ignores it.`,
  },
  csrfToken: {
    type: 'apiKey',
    in: 'header',
    name: CSRF_HEADER,
    description: 'The `csrfToken` of GET /api/v1/session: every POST with the cookie carries it.',
  },
  platformToken: { type: 'http', scheme: 'bearer', description: 'PLATFORM_TOKEN of the control plane.' },
  metricsToken: { type: 'http', scheme: 'bearer', description: 'METRICS_TOKEN of the control plane.' },
}
