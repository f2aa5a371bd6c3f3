import { describe, expect, test } from 'vitest'

import { readControlPlaneConfig, readStoreConfig, readToolServerConfig, type Env } from '../src/config.ts'

const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const

function problemsOf(env: Env): string {
  try {
    readToolServerConfig(env)
    return ''
  } catch (error) {
    return String(error)
  }
}

describe('RUN_STATE_KEY', () => {
  test.each([
    ['one in hex', one.toString('hex'), [one]],
    ['one in base64url', one.toString('base64url'), [one]],
    [
      'several of both, in their order',
      `${other.toString('base64url')}, ${one.toString('hex')}`,
      [other, one],
    ],
  ])('%s', (_name, text, keys) => {
    expect(readToolServerConfig({ RUN_STATE_KEY: text }).RUN_STATE_KEY).toEqual(keys)
  })

  test('not set: none', () => {
    expect(readToolServerConfig({}).RUN_STATE_KEY).toBeUndefined()
  })

  test.each([
    ['31 bytes', one.subarray(1).toString('base64url')],
    ['33 bytes', Buffer.alloc(33).toString('base64url')],
    ['a password', 'correct-horse-battery-staple'],
    ['a good one and a bad one', `${one.toString('hex')},short`],
    ['characters that are none of base64url', `${one.toString('base64url').slice(0, -1)}!`],
    ['only a comma', ','],
  ])('%s: refused, and not repeated', (_name, text) => {
    const said = problemsOf({ RUN_STATE_KEY: text })
    expect(said).toContain('RUN_STATE_KEY: 32 random bytes')
    expect(said).not.toContain(text.split(',')[0] || 'nothing to repeat')
  })
})

describe('STRIPE_API_KEY', () => {
  test('a test key goes alone', () => {
    expect(problemsOf({ STRIPE_API_KEY: 'sk_test_x' })).toBe('')
  })

  test.each(['sk_live_x', 'rk_live_x'])('%s needs to be told what it charges', (STRIPE_API_KEY) => {
    expect(problemsOf({ STRIPE_API_KEY })).toContain('STRIPE_PAYMENT_METHOD: required with a live')
    expect(problemsOf({ STRIPE_API_KEY, STRIPE_PAYMENT_METHOD: 'pm_1' })).toBe('')
  })

  test('a publishable key is refused, and not repeated', () => {
    const said = problemsOf({ STRIPE_API_KEY: 'pk_live_published' })
    expect(said).toContain('STRIPE_API_KEY: a secret key of Stripe')
    expect(said).not.toContain('published')
  })

  test('a payment method without a key is a mistake', () => {
    expect(problemsOf({ STRIPE_PAYMENT_METHOD: 'pm_1' })).toContain('STRIPE_API_KEY: required')
  })
})

describe('the drills of the control plane', () => {
  const problems = (env: Env) => {
    try {
      readControlPlaneConfig(env)
      return ''
    } catch (error) {
      return String(error)
    }
  }
  const urls = 'http://127.0.0.1:4200, https://tools.example.com'

  test('call one tool server or several', () => {
    const config = readControlPlaneConfig({ DRILL_TOOL_SERVER_URL: urls, DRILL_TOKEN: 'hpc_x' })
    expect(config.DRILL_TOOL_SERVER_URL).toEqual(urls.split(', '))
    expect(readControlPlaneConfig({}).DRILL_TOOL_SERVER_URL).toBeUndefined()
  })

  test('with one token, of which nothing is repeated', () => {
    const both = { DRILL_TOOL_SERVER_URL: urls, DRILL_TOKEN: 'hpc_secret', DRILL_TOKEN_FILE: '/f' }
    expect(problems(both)).toContain('DRILL_TOKEN and DRILL_TOKEN_FILE: set only one')
    expect(problems(both)).not.toContain('hpc_secret')
    expect(problems({ DRILL_TOKEN: 'x', DRILL_ORG_ID: 'o' })).toContain(
      'DRILL_TOOL_SERVER_URL: required with DRILL_TOKEN and DRILL_ORG_ID',
    )
    expect(problems({ DRILL_TOOL_SERVER_URL: 'ftp://x' })).toContain('http or https URLs')
  })
})

test('MAIL_FROM is required with SMTP_URL', () => {
  expect(problemsOf({ SMTP_URL: 'smtp://127.0.0.1' })).toContain('MAIL_FROM: required with SMTP_URL')
  expect(problemsOf({ SMTP_URL: 'smtp://127.0.0.1', MAIL_FROM: 'Accounts <a@example.com>' })).toBe('')
})

test.each([
  ['APPROVAL_TTL_SECONDS', '9'],
  ['APPROVAL_TTL_SECONDS', '86401'],
  ['APPROVAL_TTL_SECONDS', 'soon'],
  ['APPROVAL_DESK', 'no'],
  ['MAX_CONCURRENT_RUNS', '0'],
  ['MAX_CONCURRENT_RUNS', '1.5'],
])('%s=%s is refused', (name, value) => {
  expect(problemsOf({ [name]: value })).toContain(`${name}: `)
})

describe('Postgres', () => {
  const DATABASE_URL = 'postgres://holdpoint:hidden@db.example:5432/holdpoint'
  const PLATFORM_TOKEN = 'p'.repeat(32)
  const refused = (env: Env) => {
    try {
      readControlPlaneConfig(env)
      return ''
    } catch (error) {
      return String(error)
    }
  }

  test('the control plane on it needs the one platform token of all nodes', () => {
    expect(refused({ DATABASE_URL })).toContain('PLATFORM_TOKEN: required with DATABASE_URL')
    // What works on the store without the servers has nobody to show it to.
    expect(readStoreConfig({ DATABASE_URL })).toMatchObject({ DATABASE_URL, DATA_DIR: './data' })
    expect(readControlPlaneConfig({ DATABASE_URL, PLATFORM_TOKEN })).toMatchObject({
      DATABASE_URL,
      DATABASE_POOL_SIZE: 10,
      VALIDATE_POOL_SIZE: 4,
      DATABASE_TIMEOUT_MS: 1500,
      CONSISTENCY: 'primary',
    })
  })

  test('CONSISTENCY without it is a mistake', () => {
    expect(refused({ CONSISTENCY: 'quorum' })).toContain('DATABASE_URL: required with CONSISTENCY')
    expect(refused({ CONSISTENCY: 'strong', DATABASE_URL, PLATFORM_TOKEN })).toContain('primary or quorum')
  })

  test('another database is refused, and its password is not repeated', () => {
    const said = refused({ DATABASE_URL: 'mysql://root:hidden@db.example/x', PLATFORM_TOKEN })
    expect(said).toContain('DATABASE_URL: postgres://user:password@host:port/database')
    expect(said).not.toContain('hidden')
  })

  test.each([
    'options=-c%20work_mem%3D8MB',
    'sslmode=disable&Options=-csearch_path%3Dhidden',
    'application_name=hidden',
    'fallback_application_name=hidden',
    'statement_timeout=0',
    'lock_timeout=0',
    'idle_in_transaction_session_timeout=0',
    'query_timeout=0',
    'client_encoding=hidden',
    'replication=true',
    'connect_timeout=600',
  ])('a parameter of the URL that would undo what we set is refused, and not repeated: %s', (parameters) => {
    const url = `${DATABASE_URL}?${parameters}`
    const name = parameters.split('&').at(-1)?.split('=')[0] ?? ''
    for (const said of [
      refused({ DATABASE_URL: url, PLATFORM_TOKEN }),
      problemsOf({ TOOL_DATABASE_URL: url, RUN_STATE_KEY: one.toString('hex') }),
    ]) {
      expect(said).toMatch(new RegExp(`DATABASE_URL: .*take out ${name}\\b.*ALTER ROLE`))
      expect(said).not.toContain('hidden')
    }
    expect(() => readStoreConfig({ DATABASE_URL: url })).toThrow(/DATABASE_URL: .*take out/)
  })

  test('a password that is read as a parameter is not repeated', () => {
    const url = 'postgres://holdpoint:2024?S3cretWord@db.internal:5432/holdpoint'
    const said = refused({ DATABASE_URL: url, PLATFORM_TOKEN })
    expect(said).toContain('DATABASE_URL: ')
    expect(said).not.toContain('S3cretWord')
  })

  test.each([
    '',
    '?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem&sslcert=/c.pem&sslkey=/k.pem&sslnegotiation=direct',
    '?uselibpqcompat=true&sslmode=require',
    '?ssl=true',
    '?host=/var/run/postgresql',
  ])('one that says how to get there is taken: %s', (parameters) => {
    expect(refused({ DATABASE_URL: DATABASE_URL + parameters, PLATFORM_TOKEN })).toBe('')
  })

  test('tool servers on it need the one key that seals runs', () => {
    expect(problemsOf({ TOOL_DATABASE_URL: DATABASE_URL })).toContain('RUN_STATE_KEY: required with')
    expect(problemsOf({ TOOL_DATABASE_URL: DATABASE_URL, RUN_STATE_KEY: one.toString('hex') })).toBe('')
  })
})

describe('what a newcomer gets wrong', () => {
  const example = 'an http or https URL, as http://127.0.0.1:4100'
  test.each(['MACHINEID_BASE_URL', 'PUBLIC_URL', 'OPENAI_BASE_URL', 'STRIPE_API_BASE'])(
    '%s without its scheme: the message shows how one looks',
    (name) => {
      for (const url of ['127.0.0.1:4100', 'localhost:4100'])
        expect(problemsOf({ [name]: url })).toContain(`  ${name}: ${example}\n`)
    },
  )

  test('CONSOLE_URL too', () => {
    expect(() => readControlPlaneConfig({ CONSOLE_URL: 'localhost:4101' })).toThrow(
      `  CONSOLE_URL: ${example}\n`,
    )
  })

  test('two ports that are one: both are named', () => {
    expect(problemsOf({ TOOL_SERVER_PORT: '4100' })).toContain(
      '  TOOL_SERVER_PORT: the same as CONTROL_PLANE_PORT, 4100; take another port\n',
    )
    expect(() => readControlPlaneConfig({ OPERATOR_PORT: '4100' })).toThrow(
      '  OPERATOR_PORT: the same as CONTROL_PLANE_PORT, 4100; take another port\n',
    )
  })

  test('any free port, or a control plane on another machine: nothing is the same', () => {
    const free = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
    expect(problemsOf(free)).toBe('')
    expect(() => readControlPlaneConfig(free)).not.toThrow()
    // Alone it does not have the control plane's settings.
    expect(problemsOf({ TOOL_SERVER_PORT: '4101' })).toBe('')
    const elsewhere = { MACHINEID_BASE_URL: 'https://authority.example.com', TOOL_SERVER_PORT: '4100' }
    expect(problemsOf(elsewhere)).toBe('')
  })
})
