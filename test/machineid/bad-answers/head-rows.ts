import { STATUS_CODES } from 'node:http'

import { httpAnswer } from '../../fixtures/raw-server.ts'
import { bytes, head, type Row } from './row.ts'

const SUCCESS = [201, 202, 203, 206, 208, 226, 204, 205]
const OTHER_ERRORS = [
  400, 402, 404, 405, 406, 408, 409, 410, 413, 415, 418, 421, 422, 425, 426, 428, 431, 451, 500, 501, 502,
  503, 504, 505, 507, 508, 511, 520, 521, 522, 524, 529, 530, 599, 999,
]

function status(no: number, statusCode: number, code: string): Row {
  const line = `${statusCode} ${STATUS_CODES[statusCode] ?? 'Unknown'}`
  return { no, name: `status ${line} with an allow in the body`, code, serve: head({ status: line }) }
}

function redirect(no: number, name: string, line: string, location: string): Row {
  return {
    no,
    name,
    code: 'AUTHORITY_REDIRECT',
    serve: head({ status: line, headers: { location } }),
    // Would be an allow, if anyone came.
    elsewhere: (socket, request) => {
      const good = { allowed: true, code: 'ALLOW', request_id: 'r-elsewhere' }
      socket.write(httpAnswer(JSON.stringify({ ...good, ...(request.json as object) })))
    },
  }
}

function contentType(no: number, type: string): Row {
  return {
    no,
    name: `content-type ${type}`,
    code: 'AUTHORITY_BAD_CONTENT_TYPE',
    serve: head({ headers: { 'content-type': type } }),
  }
}

/** Rows 36, 37, 43 to 99 and 118: an allow in the body of an answer that is refused by its head. */
export const HEAD_ROWS: readonly Row[] = [
  { no: 36, name: 'an Age header', code: 'AUTHORITY_CACHED', serve: head({ headers: { age: '0' } }) },
  {
    no: 37,
    name: 'Warning: 110, the answer is stale',
    code: 'AUTHORITY_CACHED',
    serve: head({ headers: { warning: '110 - "Response is Stale"' } }),
  },
  ...SUCCESS.map((statusCode, index) => status(43 + index, statusCode, 'AUTHORITY_BAD_STATUS')),
  status(51, 300, 'AUTHORITY_REDIRECT'),
  status(52, 304, 'AUTHORITY_REDIRECT'),
  status(53, 401, 'AUTHORITY_UNAUTHORIZED'),
  status(54, 403, 'AUTHORITY_UNAUTHORIZED'),
  status(55, 429, 'AUTHORITY_RATE_LIMITED'),
  ...OTHER_ERRORS.map((statusCode, index) => status(56 + index, statusCode, 'AUTHORITY_BAD_STATUS')),
  redirect(91, '302 to a page with an allow', '302 Found', '/allow'),
  redirect(92, '307 on the same host', '307 Temporary Redirect', '/allow'),
  // Row 93, another host, has a test of its own: nothing may arrive there.
  redirect(94, 'a redirect to itself', '302 Found', '/api/v1/devices/validate'),
  {
    no: 95,
    name: 'a captive portal: HTML with status 200',
    code: 'AUTHORITY_BAD_CONTENT_TYPE',
    serve: bytes(() =>
      httpAnswer('<!doctype html><title>Log in</title>', { headers: { 'content-type': 'text/html' } }),
    ),
  },
  contentType(96, 'text/html'),
  {
    no: 97,
    name: 'no content-type',
    code: 'AUTHORITY_BAD_CONTENT_TYPE',
    serve: bytes(({ text }) => `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`),
  },
  contentType(98, 'application/problem+json'),
  contentType(99, 'application/json; charset=utf-7'),
  contentType(99, 'application/json; charset=utf-8; charset=utf-7'),
  {
    no: 118,
    name: '206 with Content-Range',
    code: 'AUTHORITY_BAD_STATUS',
    serve: bytes(({ text }) =>
      httpAnswer(text, {
        status: '206 Partial Content',
        headers: { 'content-range': `bytes 0-${text.length - 1}/${text.length * 2}` },
      }),
    ),
  },
]
