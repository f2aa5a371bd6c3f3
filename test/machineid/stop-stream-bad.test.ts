import { gzipSync } from 'node:zlib'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'

import { httpAnswer } from '../fixtures/raw-server.ts'
import { current, event, hello, opened, PAYMENTS, stop, streamHead, streamTo } from './stop-stream-harness.ts'

const json = (status: string, headers = {}) => httpAnswer('{"error":"no"}', { status, headers })
/** What could be mistaken for an open stream with a stop in it. */
const BODY = hello() + current(5) + stop(6)
const KB64 = 'x'.repeat(64 * 1024)

// Each of these is hung up on, denies nothing, and is tried again.
const BAD_STREAMS: readonly (readonly [string, (socket: Socket) => unknown, string])[] = [
  [
    'a wrong content type',
    (s) => s.write(streamHead({ 'content-type': 'text/plain' }) + BODY),
    'AUTHORITY_BAD_CONTENT_TYPE',
  ],
  ['JSON', (s) => s.write(httpAnswer('{"allowed":true}')), 'AUTHORITY_BAD_CONTENT_TYPE'],
  [
    'a page of a captive portal',
    (s) => s.write(streamHead({ 'content-type': 'text/html' }) + '<html>'),
    'AUTHORITY_BAD_CONTENT_TYPE',
  ],
  [
    'another charset',
    (s) => s.write(streamHead({ 'content-type': 'text/event-stream; charset=utf-16' }) + BODY),
    'AUTHORITY_BAD_CONTENT_TYPE',
  ],
  [
    'a redirect',
    (s) => s.write(httpAnswer('', { status: '302 Found', headers: { location: '/elsewhere' } })),
    'AUTHORITY_REDIRECT',
  ],
  ['no content', (s) => s.write('HTTP/1.1 204 No Content\r\n\r\n'), 'AUTHORITY_BAD_STATUS'],
  [
    'gzip',
    (s) => s.write(Buffer.concat([Buffer.from(streamHead({ 'content-encoding': 'gzip' })), gzipSync(BODY)])),
    'AUTHORITY_BAD_ENCODING',
  ],
  ['what a cache kept', (s) => s.write(streamHead({ age: '3' }) + BODY), 'AUTHORITY_CACHED'],
  ['401', (s) => s.write(json('401 Unauthorized')), 'AUTHORITY_UNAUTHORIZED'],
  ['403', (s) => s.write(json('403 Forbidden')), 'AUTHORITY_UNAUTHORIZED'],
  ['404', (s) => s.write(json('404 Not Found')), 'AUTHORITY_BAD_STATUS'],
  ['429', (s) => s.write(json('429 Too Many Requests')), 'AUTHORITY_RATE_LIMITED'],
  ['503', (s) => s.write(json('503 Service Unavailable')), 'AUTHORITY_BAD_STATUS'],
  ['what is no HTTP', (s) => s.write('SSH-2.0-OpenSSH_9.6\r\n'), 'AUTHORITY_UNREACHABLE'],
  ['a reset', (s) => s.resetAndDestroy(), 'AUTHORITY_UNREACHABLE'],
  [
    'a reset in mid stream',
    (s) => s.write(streamHead() + hello(), () => setTimeout(() => s.resetAndDestroy(), 20)),
    'AUTHORITY_TRUNCATED',
  ],
  ['an end before anything', (s) => s.end(streamHead()), 'AUTHORITY_TRUNCATED'],
  ['silence before the head', () => {}, 'AUTHORITY_TIMEOUT'],
  ['silence after the head', (s) => s.write(streamHead()), 'AUTHORITY_TIMEOUT'],
  ['silence after the greeting', (s) => s.write(streamHead() + hello()), 'AUTHORITY_TIMEOUT'],
  ['heartbeats without a greeting', (s) => drip(s, streamHead(), ':\n\n'), 'AUTHORITY_TIMEOUT'],
  ['headers that never end', (s) => drip(s, 'HTTP/1.1 200 OK\r\n', 'x-more: 1\r\n'), 'AUTHORITY_TIMEOUT'],
  [
    'endless garbage after opening',
    (s) => drip(s, opened(5, { heartbeatMs: 1 }), 'garbage'),
    'AUTHORITY_TIMEOUT',
  ],
  [
    'headers that are too large',
    (s) => s.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(80_000)}\r\n`),
    'AUTHORITY_UNREACHABLE',
  ],
  [
    'an event without end',
    (s) => s.write(`${streamHead()}${hello()}data: ${KB64}${KB64}`),
    'AUTHORITY_BODY_TOO_LARGE',
  ],
  [
    'an event that is too large',
    (s) => s.write(`${streamHead()}${hello()}${stop(6, [KB64])}`),
    'AUTHORITY_BODY_TOO_LARGE',
  ],
  [
    'an event of too many lines',
    (s) => s.write(`${streamHead()}${hello()}${'data: 0123456789\n'.repeat(9000)}`),
    'AUTHORITY_BODY_TOO_LARGE',
  ],
  [
    'what is not UTF-8',
    (s) => s.write(Buffer.concat([Buffer.from(streamHead() + hello()), Buffer.from([0xff, 0xfe])])),
    'AUTHORITY_BAD_BODY',
  ],
  [
    'the greeting of another org',
    (s) => s.write(streamHead() + hello({ orgId: 'o_other' }) + current(5) + stop(6)),
    'AUTHORITY_WRONG_DEVICE',
  ],
  [
    'another org after our own',
    (s) => s.write(streamHead() + hello() + hello({ orgId: 'o_other' }) + current(5) + stop(6)),
    'AUTHORITY_WRONG_DEVICE',
  ],
  [
    'stops before the greeting',
    (s) => s.write(streamHead() + stop(6) + current(6) + event('key_cut', { epoch: 6 })),
    'AUTHORITY_TIMEOUT',
  ],
  [
    'a stop that is cut off',
    (s) => s.end(streamHead() + hello() + stop(6).slice(0, -2)),
    'AUTHORITY_TRUNCATED',
  ],
  [
    'fewer chunks than announced',
    (s) => s.end(`${streamHead({ 'transfer-encoding': 'chunked' })}ff\r\n${stop(6)}`),
    'AUTHORITY_TRUNCATED',
  ],
]

function drip(socket: Socket, first: string, more: string): void {
  socket.write(first)
  const timer = setInterval(() => socket.write(more), 10)
  socket.on('close', () => clearInterval(timer))
}

describe('G4 the other way: a stream that is not what it should be denies nothing, and is tried again', () => {
  test.for(BAD_STREAMS)('%s', async ([, answer, code]) => {
    const { stream, stops, connections, reaches, server } = await streamTo({
      stops: (socket) => void answer(socket),
    })
    await reaches(() => connections().length >= 2 && stream.state.code !== undefined)
    expect(stream.state).toMatchObject({ up: false, code })
    expect(stops).toEqual([])
    expect(server.requests.filter(({ path }) => path === '/elsewhere')).toEqual([])
  })

  test('an authority that is not there', async () => {
    const { stream, server, up, reaches } = await streamTo()
    await up()
    await server.close()
    await reaches(() => stream.state.code === 'AUTHORITY_UNREACHABLE')
    expect(stream.state.up).toBe(false)
  })
})

const PAIRS = '{"type":"stop","epoch":1,"epoch":6,"deviceIds":["a"],"action":"x"}'
// Each of these is passed over; the stream goes on, and the next good stop counts.
const BAD_EVENTS: readonly (readonly [string, string, number])[] = [
  ['no JSON', event('stop', 'stop it'), 1],
  ['cut JSON', event('stop', '{"type":"stop","epoch":6'), 1],
  ['no object', event('stop', '[6]'), 1],
  ['nothing', 'event: stop\ndata\n\n', 1],
  ['an epoch NaN', event('stop', `{"type":"stop","epoch":NaN,"deviceIds":["${PAYMENTS}"],"action":"x"}`), 1],
  [
    'an epoch Infinity',
    event('stop', `{"type":"stop","epoch":1e999,"deviceIds":["${PAYMENTS}"],"action":"x"}`),
    1,
  ],
  ['an epoch beyond what a number can tell', stop(2 ** 53), 1],
  ['a huge epoch', stop(1e300), 1],
  ['a negative epoch', stop(-1), 1],
  ['a broken epoch', stop(1.5), 1],
  ['an epoch as text', stop('6'), 1],
  ['no epoch', stop(undefined), 1],
  ['no devices', stop(6, []), 1],
  ['devices that are none', stop(6, [7]), 1],
  ['a key twice', event('stop', PAIRS), 1],
  ['another type within', event('stop', { type: 'key_cut', epoch: 6 }), 1],
  ['a key cut without an epoch', event('key_cut', {}), 1],
  ['a greeting that is none', event('hello', { orgId: '' }), 1],
  ['a device that is not ours', stop(6, ['openai-agent:prod:email:01']), 0],
  ['a type that newer authorities have', event('restore', { epoch: 6, deviceIds: [PAYMENTS] }), 0],
  ['no type', `data: ${JSON.stringify({ type: 'stop', epoch: 6, deviceIds: [PAYMENTS] })}\n\n`, 0],
  ['lines that are no fields', 'what: is this\nretry: soon\n\n', 0],
]

describe('an event that is not what it should be is passed over', () => {
  test.for(BAD_EVENTS)('%s', async ([, bad, count]) => {
    const { stream, stops, reaches, connections } = await streamTo({
      stops: (socket) => socket.write(opened() + bad + stop(9)),
    })
    await reaches(() => stops.length > 0)
    expect(stops).toEqual([{ epoch: 9, deviceIds: [PAYMENTS] }])
    expect(stream.state.up).toBe(true)
    expect(stream.badEvents).toBe(count)
    expect(connections()).toHaveLength(1)
  })
})
