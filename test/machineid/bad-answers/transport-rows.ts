import { httpAnswer } from '../../fixtures/raw-server.ts'
import { SHORT_BUDGET_MS, bytes, drip, HEAD_OK, type Row, type Serve } from './row.ts'

function timeout(no: number, name: string, serve: Serve): Row {
  return { no, name, code: 'AUTHORITY_TIMEOUT', serve }
}

function unreachable(no: number, name: string, serve: Serve): Row {
  return { no, name, code: 'AUTHORITY_UNREACHABLE', serve }
}

/** One byte of `text` at a time, slower than the budget. */
function slowly(text: string): Serve {
  return ({ socket }) => {
    let at = 0
    drip(socket, 20, () => socket.write(text.charAt(at++ % text.length)))
  }
}

/** Rows 119 to 138: what comes is late, cut, or not HTTP. */
export const TRANSPORT_ROWS: readonly Row[] = [
  timeout(119, 'accepted, then silence', () => {}),
  timeout(120, 'headers, then silence', ({ good, socket }) =>
    socket.write(`${HEAD_OK}content-length: ${good.text.length}\r\n\r\n`),
  ),
  timeout(121, 'a body that drips', ({ good, socket }) => {
    socket.write(`${HEAD_OK}content-length: ${good.text.length}\r\n\r\n`)
    let at = 0
    drip(socket, 20, () => socket.write(good.text.charAt(at++)))
  }),
  timeout(122, 'headers that drip', slowly(`${HEAD_OK}x-padding: ${'x'.repeat(4096)}`)),
  timeout(123, 'an allow after the budget', ({ good, socket }) => {
    setTimeout(() => socket.write(httpAnswer(good.text)), SHORT_BUDGET_MS + 100)
  }),
  timeout(124, '103 Early Hints without end', ({ socket }) =>
    drip(socket, 5, () => socket.write('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n')),
  ),
  {
    no: 125,
    name: '100 Continue, then silence',
    code: ['AUTHORITY_UNREACHABLE', 'AUTHORITY_TIMEOUT'],
    serve: bytes(() => 'HTTP/1.1 100 Continue\r\n\r\n'),
  },
  {
    no: 126,
    name: 'a reset as soon as it is accepted',
    code: 'AUTHORITY_UNREACHABLE',
    onConnection: (socket) => socket.resetAndDestroy(),
  },
  {
    no: 126,
    name: 'a reset in answer to the question, each time',
    code: 'AUTHORITY_UNREACHABLE',
    // Both attempts: no byte came back, so it is asked once more.
    maxRequests: 2,
    serve: ({ socket }) => socket.resetAndDestroy(),
  },
  {
    no: 127,
    name: 'closed as soon as it is accepted',
    code: 'AUTHORITY_UNREACHABLE',
    onConnection: (socket) => socket.end(),
  },
  {
    no: 127,
    name: 'closed in answer to the question, each time',
    code: 'AUTHORITY_UNREACHABLE',
    maxRequests: 2,
    serve: ({ socket }) => socket.end(),
  },
  {
    no: 128,
    name: 'an SSH server',
    code: 'AUTHORITY_UNREACHABLE',
    onConnection: (socket) => socket.write('SSH-2.0-OpenSSH_9.6\r\n'),
  },
  unreachable(129, 'HTTP/0.9: the body alone', ({ good, socket }) => socket.end(good.text)),
  unreachable(130, 'a TLS alert on the plain port', ({ socket }) =>
    socket.end(Buffer.of(0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46)),
  ),
  {
    no: 131,
    name: 'a reset in the middle of the body',
    code: 'AUTHORITY_TRUNCATED',
    serve: ({ good, socket }) => {
      socket.write(`${HEAD_OK}content-length: ${good.text.length}\r\n\r\n${good.text.slice(0, 20)}`)
      // The bytes must have left, or the reset overtakes them.
      setTimeout(() => socket.resetAndDestroy(), 30)
    },
  },
  unreachable(
    132,
    'two content-lengths',
    bytes(
      ({ text }) =>
        `${HEAD_OK}content-length: ${text.length}\r\ncontent-length: ${text.length + 1}\r\n\r\n${text}`,
    ),
  ),
  unreachable(
    133,
    'transfer-encoding beside content-length',
    bytes(
      ({ text }) =>
        `${HEAD_OK}content-length: ${text.length}\r\ntransfer-encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
    ),
  ),
  unreachable(
    134,
    'a chunk size that is no number',
    bytes(({ text }) => `${HEAD_OK}transfer-encoding: chunked\r\n\r\nzz\r\n${text}\r\n0\r\n\r\n`),
  ),
  unreachable(
    135,
    'a header of 70 kB',
    bytes(
      ({ text }) =>
        `${HEAD_OK}x-padding: ${'x'.repeat(70_000)}\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    ),
  ),
  unreachable(
    136,
    'a NUL in a header',
    bytes(({ text }) => `${HEAD_OK}x-note: a\0b\r\ncontent-length: ${text.length}\r\n\r\n${text}`),
  ),
  unreachable(
    137,
    '101 Switching Protocols',
    bytes(
      ({ text }) =>
        `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n${text}`,
    ),
  ),
  {
    no: 138,
    name: 'a body that ends with the connection, cut',
    code: 'AUTHORITY_BAD_BODY',
    serve: ({ good, socket }) => socket.end(`${HEAD_OK}connection: close\r\n\r\n${good.text.slice(0, -1)}`),
  },
]
