import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { readCliConfig } from '../../src/config.ts'
import { createHttp } from '../../src/cli/http.ts'
import { keysAtHand } from '../../src/cli/keys-at-hand.ts'
import { createOperatorClient } from '../../src/cli/operator-client.ts'
import { CALLS } from '../../src/machineid/calls.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { startRawServer } from '../fixtures/raw-server.ts'
import { startRelay } from './relay.ts'
import { operatorFiles, run } from './run.ts'

/** Whatever is asked. */
async function answering(text: string) {
  const server = await startRawServer((_request, socket) => void socket.end(text))
  return { url: server.url, [Symbol.asyncDispose]: () => server.close() }
}

const DEVICE = 'openai-agent:prod:payments:01'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
  await authority.register(DEVICE)
})
afterAll(() => authority.close())

describe('a control plane that does not answer', () => {
  test('nothing listens: where it was looked for and what to try, status 1, and no stack', async () => {
    const env = { CONSOLE_URL: 'http://127.0.0.1:9' }
    const { status, stdout, stderr } = await run(['devices', 'ls'], { authority, env })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toBe(
      'The control plane is not reachable at http://127.0.0.1:9 (ECONNREFUSED). Is it running? Try: npx holdpoint start (UNREACHABLE)\n',
    )
  })

  test('an address that is not this machine: nothing that is started here would answer there', async () => {
    // Goes to this machine all the same, and says so to nobody.
    const env = { CONSOLE_URL: 'https://0.0.0.0:9' }
    const { stderr } = await run(['devices', 'ls'], { authority, key: authority.keys.viewer, env })
    expect(stderr).toBe(
      'The control plane is not reachable at https://0.0.0.0:9 (ECONNREFUSED). Check the address, the network to it, and that it runs on the machine there. (UNREACHABLE)\n',
    )
  })

  test('--json: the error as JSON on standard error, and nothing on standard output', async () => {
    const env = { CONSOLE_URL: 'http://127.0.0.1:9' }
    const { stdout, stderr } = await run(['devices', 'ls', '--json'], { authority, env })
    expect(stdout).toBe('')
    expect(JSON.parse(stderr)).toEqual({
      error: { code: 'UNREACHABLE', message: expect.stringContaining('npx holdpoint start') },
    })
  })

  test('cut off after a stop was made: it may have been, and may be repeated', async () => {
    await using relay = await startRelay(authority.operatorUrl, (asked) => asked.startsWith('GET'))
    const env = { CONSOLE_URL: relay.url }
    const { status, stderr } = await run(['devices', 'revoke', DEVICE], { authority, env })
    expect(status).toBe(1)
    expect(stderr).toContain(
      'start. The stop may or may not have been made: repeat it, a stop is idempotent.',
    )
    // Never repeated by itself.
    expect(relay.asked).toEqual([`POST ${PATHS.revoke}`])
    const restore = await run(['devices', 'restore', DEVICE], { authority, env })
    expect(restore.stderr).toContain('The change may or may not have been made: look before you repeat it.')
  })

  test('something else answers there: said without repeating what it answered', async () => {
    await using other = await answering('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<p>hi</p>')
    const { status, stderr } = await run(['devices', 'ls'], { authority, env: { CONSOLE_URL: other.url } })
    expect(status).toBe(1)
    expect(stderr).toContain(`What answers at ${other.url} (status 200) is not the control plane.`)
    expect(stderr).not.toContain('<p>')
  })

  test('a redirect is not followed: the key goes nowhere else', async () => {
    await using relay = await startRelay(authority.operatorUrl)
    await using other = await answering(
      `HTTP/1.1 307 Temporary Redirect\r\nlocation: ${relay.url}\r\ncontent-length: 0\r\n\r\n`,
    )
    expect((await run(['devices', 'ls'], { authority, env: { CONSOLE_URL: other.url } })).status).toBe(1)
    expect(relay.asked).toEqual([])
  })

  test('an answer of another shape is not taken for one', async () => {
    await using other = await answering(
      'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"status":"ok"}',
    )
    const { status, stderr } = await run(['org', 'usage'], { authority, env: { CONSOLE_URL: other.url } })
    expect(status).toBe(1)
    expect(stderr).toContain('Use the holdpoint of the same version.')
  })

  test('the budget of a call is kept', async () => {
    await using relay = await startRelay(authority.operatorUrl, () => new Promise<void>(() => {}))
    const http = createHttp({ caPem: undefined, signal: new AbortController().signal })
    const key = keysAtHand(readCliConfig({ DATA_DIR: operatorFiles(authority) })).key('see')
    const client = createOperatorClient(http, relay.url, key)
    await expect(client.call(CALLS.usage, {}, { timeoutMs: 50 })).rejects.toThrow(
      /gave no answer within 0\.05 s/,
    )
    await http.close()
  })
})

describe('keys', () => {
  test('one that nobody knows: status 3, where it came from, and not the key itself', async () => {
    const key = authority.keys.stop.slice(0, -4) + 'abcd'
    const { status, stderr } = await run(['devices', 'ls'], { authority, key })
    expect(status).toBe(3)
    expect(stderr).toContain('The key is HOLDPOINT_KEY. (KEY_INVALID)')
    expect(stderr).not.toContain(key.slice(-20))
  })

  test('a burned one: status 3', async () => {
    const issued = await authority.service.issueKey({ orgId: authority.orgId, kind: 'stop' })
    const { status, stdout } = await run(['keys', 'burn', issued.keyId, '--yes'], {
      authority,
      key: issued.key,
    })
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('never works again'),
    })
    const after = await run(['devices', 'ls'], { authority, key: issued.key })
    expect(after.status).toBe(3)
    expect(after.stderr).toContain('(KEY_BURNED)')
  })

  test.each([['a b'], ['é'], ['x\ny']])('%j cannot be a key, and is not repeated', async (key) => {
    const { status, stderr } = await run(['devices', 'ls'], { authority, key })
    expect(status).toBe(2)
    expect(stderr).toContain('HOLDPOINT_KEY has characters that no key has')
  })

  test('no key at hand: which are needed and where from', async () => {
    const { status, stderr } = await run(['devices', 'ls'], { env: { CONSOLE_URL: authority.operatorUrl } })
    expect(status).toBe(2)
    expect(stderr).toContain(
      'This takes a key of kind viewer, stop, operator, admin or full, and there is no /nonexistent/operator.json. ' +
        'Set HOLDPOINT_KEY, or set DATA_DIR to where the control plane keeps its files. (NO_KEY)',
    )
  })

  test('an operator.json that is not one is not quoted', async () => {
    const DATA_DIR = operatorFiles(authority, ['viewer', 'stop'])
    writeFileSync(join(DATA_DIR, 'operator.json'), `{"stop": "${authority.keys.stop}`)
    const { status, stderr } = await run(['devices', 'ls'], { authority, env: { DATA_DIR } })
    expect(status).toBe(1)
    expect(stderr).toContain('operator.json is not what holdpoint wrote there')
    expect(stderr).not.toContain(authority.keys.stop)
  })

  test('without CONSOLE_URL it asks where operator.json says', async () => {
    const env = { DATA_DIR: operatorFiles(authority) }
    expect((await run(['org', 'usage'], { env })).status).toBe(0)
  })

  test('never goes over plain http to another machine', async () => {
    const env = { CONSOLE_URL: 'http://192.0.2.1:4101' }
    const { status, stderr } = await run(['devices', 'ls'], { authority, env })
    expect(status).toBe(2)
    expect(stderr).toContain('Use https. (PLAIN_HTTP)')
  })
})

test('settings that cannot work are named, all at once, with status 2', async () => {
  const env = { CONSOLE_URL: 'nowhere', OPERATOR_PORT: 'x', TOOL_SERVER_URL: 'http://a,b' }
  const { status, stderr } = await run(['devices', 'ls'], { env })
  expect(status).toBe(2)
  for (const name of Object.keys(env)) expect(stderr).toContain(`${name}`)
})

describe('TLS', () => {
  const { cert, key } = selfSigned()
  let secure: TestControlPlane
  beforeAll(async () => {
    secure = await startTestLanes({ tls: { cert, key } })
    writeFileSync(join(secure.dir, 'cert.pem'), cert)
  })
  afterAll(() => secure.close())

  test('a server that cannot prove who it is gets no key', async () => {
    const { status, stderr } = await run(['org', 'usage'], { authority: secure })
    expect(status).toBe(1)
    expect(stderr).toContain('could not prove who it is')
    expect(stderr).toContain('MACHINEID_CA_FILE')
  })

  test.each(['MACHINEID_CA_FILE', 'TLS_CERT_FILE'])('%s names whom to trust', async (name) => {
    const env = { [name]: join(secure.dir, 'cert.pem') }
    expect((await run(['org', 'usage'], { authority: secure, env })).status).toBe(0)
  })

  test('NODE_TLS_REJECT_UNAUTHORIZED turns nothing off', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      expect((await run(['org', 'usage'], { authority: secure })).status).toBe(1)
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
  })
})

describe('events', () => {
  const client = (url: string) => {
    const http = createHttp({ caPem: undefined, signal: new AbortController().signal })
    const key = keysAtHand(readCliConfig({ DATA_DIR: operatorFiles(authority) })).key('evidence')
    return { http, operator: createOperatorClient(http, url, key) }
  }

  test('come as they happen, and the stream ends with its signal', async () => {
    const { http, operator } = client(authority.operatorUrl)
    const ending = new AbortController()
    const seen: string[] = []
    const onState = (state: string) => void (state === 'up' && void authority.revoke(DEVICE))
    for await (const { event, data, id } of operator.events(PATHS.feed, { types: 'change' }, ending.signal, {
      onState,
    })) {
      seen.push(event)
      expect(id).toEqual(expect.any(String))
      expect(data).toMatchObject({ type: 'change', row: { action: 'device.revoke', deviceId: DEVICE } })
      ending.abort()
    }
    expect(seen).toEqual(['change'])
    await http.close()
  })

  test('go on after a lost connection where they ended; none is told twice', async () => {
    await using own = await startTestLanes()
    await own.register(DEVICE)
    const http = createHttp({ caPem: undefined, signal: new AbortController().signal })
    const key = keysAtHand(readCliConfig({ DATA_DIR: operatorFiles(own) })).key('evidence')
    const operator = createOperatorClient(http, own.operatorUrl, key)
    const ending = new AbortController()
    const states: string[] = []
    const epochs: number[] = []
    const expected: number[] = []
    let first: Promise<number> | undefined
    const onState = (state: 'up' | 'down') => {
      states.push(state)
      first ??= own.revoke(DEVICE)
    }
    for await (const { data } of operator.events(PATHS.feed, { types: 'change' }, ending.signal, {
      onState,
    })) {
      epochs.push((data as { row: { after: { epoch: number } } }).row.after.epoch)
      if (epochs.length === 1) {
        // Told before its own answer arrived, which a restart would cut off.
        expected.push((await first) ?? 0)
        await own.restart()
        expected.push(await own.revoke(DEVICE))
      } else ending.abort()
    }
    expect(epochs).toEqual(expected)
    expect(states).toEqual(['up', 'down', 'up'])
    await http.close()
  }, 20_000)

  test('a refusal is thrown, with status 3 for a key that may not', async () => {
    const http = createHttp({ caPem: undefined, signal: new AbortController().signal })
    const key = keysAtHand(readCliConfig({ HOLDPOINT_KEY: authority.keys.runtime })).key('see')
    const operator = createOperatorClient(http, authority.operatorUrl, key)
    const reading = operator
      .events(PATHS.feed, {}, new AbortController().signal)
      [Symbol.asyncIterator]()
      .next()
    await expect(reading).rejects.toMatchObject({ code: 'INSUFFICIENT_SCOPE', status: 3 })
    await http.close()
  })
})
