import { gzipSync } from 'node:zlib'

import { httpAnswer } from '../../fixtures/raw-server.ts'
import { body, bytes, drip, HEAD_OK, head, type Row } from './row.ts'

const MIB = 1024 * 1024
const BOMB = gzipSync(Buffer.alloc(64 * MIB, ' '))

function badBody(no: number, name: string, make: (text: string) => string | Uint8Array): Row {
  return { no, name, code: 'AUTHORITY_BAD_BODY', serve: body(make) }
}

/** Rows 100 to 117: the head is good, the body is not one complete JSON text in UTF-8 of a bearable size. */
export const BODY_ROWS: readonly Row[] = [
  badBody(100, 'an empty body', () => ''),
  badBody(101, 'white space', () => ' \r\n\t '),
  {
    no: 102,
    name: 'a content-length longer than the body',
    code: 'AUTHORITY_TRUNCATED',
    serve: ({ good, socket }) =>
      socket.end(`${HEAD_OK}content-length: ${good.text.length + 10}\r\n\r\n${good.text}`),
  },
  {
    no: 102,
    name: 'the same, on a connection that was to close',
    code: 'AUTHORITY_TRUNCATED',
    serve: ({ good, socket }) =>
      socket.end(
        `${HEAD_OK}connection: close\r\ncontent-length: ${good.text.length + 10}\r\n\r\n${good.text}`,
      ),
  },
  {
    no: 103,
    name: 'chunks without the last one',
    code: 'AUTHORITY_TRUNCATED',
    serve: ({ good, socket }) =>
      socket.end(
        `${HEAD_OK}transfer-encoding: chunked\r\n\r\n${good.text.length.toString(16)}\r\n${good.text}\r\n`,
      ),
  },
  {
    no: 103,
    name: 'the same, on a connection that was to close',
    code: 'AUTHORITY_TRUNCATED',
    serve: ({ good, socket }) =>
      socket.end(
        `${HEAD_OK}connection: close\r\ntransfer-encoding: chunked\r\n\r\n${good.text.length.toString(16)}\r\n${good.text}\r\n`,
      ),
  },
  badBody(104, 'the JSON without its last byte', (text) => text.slice(0, -1)),
  badBody(105, 'a byte after the JSON', (text) => `${text}x`),
  badBody(105, 'a NUL after the JSON', (text) => `${text}\0`),
  badBody(106, 'two JSON texts', (text) => text + text),
  badBody(107, 'a byte order mark before the JSON', (text) => `\uFEFF${text}`),
  badBody(108, 'invalid UTF-8 in another field', (text) =>
    Buffer.concat([Buffer.from('{"note":"'), Buffer.of(0xff), Buffer.from('",'), Buffer.from(text.slice(1))]),
  ),
  badBody(108, 'a surrogate half as UTF-8', (text) =>
    Buffer.concat([
      Buffer.from('{"note":"'),
      Buffer.of(0xed, 0xa0, 0x80),
      Buffer.from('",'),
      Buffer.from(text.slice(1)),
    ]),
  ),
  badBody(109, 'UTF-16', (text) => Buffer.from(text, 'utf16le')),
  badBody(109, 'UTF-16 with a byte order mark', (text) => Buffer.from(`\uFEFF${text}`, 'utf16le')),
  badBody(110, 'JSONP', (text) => `callback(${text})`),
  badBody(111, 'a prefix against script inclusion', (text) => `)]}',\n${text}`),
  badBody(112, 'JSON with a comment', (text) => `/* cached */ ${text}`),
  {
    no: 113,
    name: 'gzip though identity was asked for',
    code: 'AUTHORITY_BAD_ENCODING',
    serve: bytes(({ text }) => httpAnswer(gzipSync(text), { headers: { 'content-encoding': 'gzip' } })),
  },
  {
    no: 114,
    name: 'a gzip bomb of 64 MiB',
    code: ['AUTHORITY_BAD_ENCODING', 'AUTHORITY_TIMEOUT'],
    serve: bytes(() => httpAnswer(BOMB, { headers: { 'content-encoding': 'gzip' } })),
  },
  ...['gzip', 'br', 'identity, gzip'].map((encoding) => ({
    no: 115,
    name: `content-encoding ${encoding} over plain JSON`,
    code: 'AUTHORITY_BAD_ENCODING',
    serve: head({ headers: { 'content-encoding': encoding } }),
  })),
  {
    no: 116,
    name: 'a valid body padded to 8 MiB',
    code: 'AUTHORITY_BODY_TOO_LARGE',
    serve: body((text) => text + ' '.repeat(8 * MIB)),
  },
  {
    no: 116,
    name: 'a valid body padded to one byte over the limit',
    code: 'AUTHORITY_BODY_TOO_LARGE',
    serve: body((text) => text + ' '.repeat(16 * 1024 + 1 - text.length)),
  },
  {
    no: 117,
    name: 'chunks without end',
    code: 'AUTHORITY_BODY_TOO_LARGE',
    serve: ({ socket }) => {
      socket.write(`${HEAD_OK}transfer-encoding: chunked\r\n\r\n`)
      drip(socket, 1, () => socket.write(`400\r\n${' '.repeat(0x400)}\r\n`))
    },
  },
]
