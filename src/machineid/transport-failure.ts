import { errors } from 'undici'

import { AuthorityFailure } from '../guard/fail-closed.ts'
import { whatToTry } from '../unreachable.ts'

// OpenSSL's and Node's names for a peer that could not prove who it is, or would not speak a version we speak.
const TLS_CODE =
  /^(?:ERR_SSL_|ERR_TLS_|EPROTO$|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_)/

// The connection ended under us. Anything else that undici reports had bytes in it that it could not read.
const CONNECTION_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE'])

// What undici reports when the answer ended before its announced end.
const CUT_CODES = new Set(['UND_ERR_SOCKET', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'ECONNRESET', 'EPIPE'])

/** What an error of the transport denies with. `headRead`: a complete status line and headers had come. */
export function failureOf(
  error: Error,
  { origin, headRead }: { readonly origin: string; readonly headRead: boolean },
): AuthorityFailure {
  if (error instanceof AuthorityFailure) return error
  const code = codeOf(error)
  const parserFailed = error instanceof errors.HTTPParserError
  // A parser's error carries what the other side sent, which belongs in no log.
  const options = parserFailed ? {} : { cause: error }
  if (TLS_CODE.test(code)) {
    return new AuthorityFailure(
      'AUTHORITY_TLS',
      `The authority at ${origin} could not prove who it is (${code}). With a private CA set MACHINEID_CA_FILE.`,
      options,
    )
  }
  // The parser gives its reasons as text only; this one means that the connection ended between two chunks.
  const cutInChunks = parserFailed && error.message.includes('EOF')
  if (headRead && (cutInChunks || CUT_CODES.has(code))) {
    return new AuthorityFailure(
      'AUTHORITY_TRUNCATED',
      `The answer from ${origin} was cut off (${code}).`,
      options,
    )
  }
  return new AuthorityFailure(
    'AUTHORITY_UNREACHABLE',
    `No HTTP answer from ${origin} (${code}). ${whatToTry(origin)}`,
    options,
  )
}

/** True for failures of the connection itself; whether an answer had begun is for the caller to know. */
export function nothingCameBack(error: Error): boolean {
  return CONNECTION_CODES.has(codeOf(error))
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
