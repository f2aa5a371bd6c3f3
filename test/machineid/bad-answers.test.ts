import { afterEach, describe, expect, test } from 'vitest'

import { MachineID } from '../../src/machineid/client.ts'
import type { Profile } from '../../src/machineid/options.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { httpAnswer, startRawServer, type RawServer } from '../fixtures/raw-server.ts'
import { BODY_ROWS } from './bad-answers/body-rows.ts'
import { CONTENT_ROWS } from './bad-answers/content-rows.ts'
import { HEAD_ROWS } from './bad-answers/head-rows.ts'
import {
  goodAnswer,
  goodRegistration,
  LONG_BUDGET_MS,
  SHORT_BUDGET_MS,
  spoiled,
  type Row,
  type Serve,
} from './bad-answers/row.ts'
import { runGuarded, type GuardedRun } from './bad-answers/run-guarded.ts'
import { TRANSPORT_ROWS } from './bad-answers/transport-rows.ts'

const BOTH: readonly Profile[] = ['holdpoint', 'machineid']
const VALIDATE = new Set<string>([PATHS.validate, PATHS.validateBatch])
const ROWS = [...CONTENT_ROWS, ...HEAD_ROWS, ...BODY_ROWS, ...TRANSPORT_ROWS].sort((a, b) => a.no - b.no)
const ORG_KEY = 'org_bad_answers_key'

const running: { close(): Promise<unknown> }[] = []

afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.close()
})

interface Met extends GuardedRun {
  /** Requests that came for the question under test. */
  readonly requestCount: () => number
  readonly server: RawServer
}

/** A guard that was started on good answers, whose next question gets the row's. */
async function meet(
  row: Omit<Row, 'no' | 'name' | 'code'>,
  profile: Profile,
  budgetMs = LONG_BUDGET_MS,
): Promise<Met> {
  let armedAt: number | undefined
  let previous: Buffer = Buffer.alloc(0)
  const connection = { connection: row.keepsConnection ? 'keep-alive' : 'close' }
  const server = await startRawServer(
    (request, socket) => {
      if (request.path === PATHS.register) {
        socket.write(httpAnswer(goodRegistration(request), { headers: connection }))
      } else if (armedAt === undefined) {
        const { text } = goodAnswer(profile, request)
        previous = httpAnswer(text)
        socket.write(httpAnswer(text, { headers: connection }))
      } else if (VALIDATE.has(request.path)) {
        row.serve?.({ good: goodAnswer(profile, request), socket, previous })
      } else {
        row.elsewhere?.(socket, request)
      }
    },
    {
      onConnection: (socket) => {
        if (armedAt === undefined || row.onConnection === undefined) return false
        row.onConnection(socket)
        return true
      },
    },
  )
  const client = new MachineID({ orgKey: ORG_KEY, baseUrl: server.url, profile, timeoutMs: budgetMs })
  running.push(server, client)
  try {
    const run = await runGuarded(client, budgetMs, () => {
      armedAt = server.requests.length
    })
    return { ...run, server, requestCount: () => server.requests.length - (armedAt ?? 0) }
  } finally {
    row.cleanUp?.()
  }
}

function budgetOf({ code }: Row): number {
  return [code].flat().includes('AUTHORITY_TIMEOUT') ? SHORT_BUDGET_MS : LONG_BUDGET_MS
}

function cases(rows: readonly Row[]): [string, Row, Profile][] {
  return rows.flatMap((row) =>
    (row.profiles ?? BOTH).map((profile): [string, Row, Profile] => [
      `${row.no}: ${row.name} (${profile})`,
      row,
      profile,
    ]),
  )
}

describe('G4: a bad answer is a denial with its own code, and the body does not run', () => {
  test.each(cases(ROWS))('%s', async (_, row, profile) => {
    const { decision, bodyCount, requestCount } = await meet(row, profile, budgetOf(row))
    expect({ allowed: decision.allowed, code: decision.code }).toEqual({
      allowed: false,
      code: expect.toBeOneOf([row.code].flat()),
    })
    expect(bodyCount()).toBe(0)
    // G8: what was denied here has an ID of our own; what the authority decided has its.
    expect(decision.requestId.startsWith('local_')).toBe(decision.code.startsWith('AUTHORITY_'))
    // No answer is asked for twice: that would be shopping for a better one.
    expect(requestCount()).toBeLessThanOrEqual(row.maxRequests ?? 1)
    expect(decision.latencyMs).toBeLessThan(LONG_BUDGET_MS + 500)
  })

  test('every number of the list is there: 1 to 138 without 41 and 93', () => {
    const numbers = Array.from({ length: 138 }, (_, index) => index + 1)
    expect([...new Set(ROWS.map(({ no }) => no))]).toEqual(numbers.filter((no) => no !== 41 && no !== 93))
  })

  test.each(BOTH)(
    '93: 308 to another host: nothing is sent there, the key least of all (%s)',
    async (profile) => {
      const other = await startRawServer((request, socket) =>
        socket.write(httpAnswer(goodAnswer(profile, request).text)),
      )
      running.push(other)
      const headers = { location: `${other.url}/api/v1/devices/validate` }
      const { decision, bodyCount } = await meet(
        {
          serve: ({ good, socket }) =>
            socket.write(httpAnswer(good.text, { status: '308 Permanent Redirect', headers })),
        },
        profile,
      )
      expect(decision).toMatchObject({ allowed: false, code: 'AUTHORITY_REDIRECT' })
      expect(bodyCount()).toBe(0)
      expect(other.connectionCount).toBe(0)
    },
  )
})

describe('the same questions with good answers: the body runs, so the table can fail', () => {
  test.each(BOTH)('the good answer as it is (%s)', async (profile) => {
    const { decision, bodyCount, requestCount } = await meet({ serve: spoiled(() => {}) }, profile)
    expect(decision).toMatchObject({ allowed: true, code: 'ALLOW' })
    expect(bodyCount()).toBe(1)
    expect(requestCount()).toBe(1)
  })

  const harmless: [string, Serve][] = [
    [
      'charset=utf-8',
      ({ good, socket }) =>
        socket.write(
          httpAnswer(good.text, { headers: { 'content-type': 'Application/JSON; Charset="UTF-8"' } }),
        ),
    ],
    [
      'content-encoding: identity',
      ({ good, socket }) =>
        socket.write(httpAnswer(good.text, { headers: { 'content-encoding': 'identity' } })),
    ],
    [
      'white space, as a pretty printer leaves it',
      ({ good, socket }) => socket.write(httpAnswer(JSON.stringify(good.envelope, undefined, 2))),
    ],
    [
      'padded to exactly the size limit',
      ({ good, socket }) => socket.write(httpAnswer(good.text.padEnd(16 * 1024))),
    ],
    [
      'in chunks, one byte at a time',
      ({ good, socket }) => {
        socket.write(
          'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
        )
        for (const char of good.text) socket.write(`1\r\n${char}\r\n`)
        socket.write('0\r\n\r\n')
      },
    ],
    [
      'after one 103 Early Hints',
      ({ good, socket }) => {
        socket.write('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n')
        socket.write(httpAnswer(good.text))
      },
    ],
    [
      'with fields we do not know',
      ({ good, socket }) => socket.write(httpAnswer(JSON.stringify({ ...good.envelope, region: 'eu' }))),
    ],
  ]
  test.each(BOTH.flatMap((profile) => harmless.map(([name, serve]) => [name, profile, serve] as const)))(
    '%s (%s)',
    async (_, profile, serve) => {
      const { decision, bodyCount } = await meet({ serve }, profile)
      expect(decision.code).toBe('ALLOW')
      expect(bodyCount()).toBe(1)
    },
  )
})

test('123: the late allow arrives, and still nothing runs', async () => {
  let written = 0
  const { bodyCount, decision } = await meet(
    {
      serve: ({ good, socket }) => {
        setTimeout(() => socket.write(httpAnswer(good.text), () => (written += 1)), SHORT_BUDGET_MS + 50)
      },
    },
    'holdpoint',
    SHORT_BUDGET_MS,
  )
  expect(decision.code).toBe('AUTHORITY_TIMEOUT')
  await expect.poll(() => written).toBe(1)
  expect(bodyCount()).toBe(0)
})

test('38: the question did go over a connection that had carried an answer', async () => {
  const connections: number[] = []
  const { server } = await meet(
    {
      keepsConnection: true,
      serve: ({ good, socket, previous }) => {
        connections.push(good.request.connection)
        socket.write(previous)
      },
    },
    'holdpoint',
  )
  const before = server.requests.slice(0, -1).map(({ connection }) => connection)
  expect(before).toContain(connections[0])
})
