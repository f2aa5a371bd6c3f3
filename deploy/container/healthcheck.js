// The HEALTHCHECK of the image: status 0 when the server of this container answers GET /healthz, else 1. With another path as
// argument it asks that: /readyz of a control plane also says whether its store can be reached.

import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

// oxlint-disable-next-line node/no-process-env -- what the server beside it reads too
const { CONTROL_PLANE_PORT, TOOL_SERVER_PORT, TLS_CERT_FILE } = process.env
const path = process.argv[2] ?? '/healthz'
const timeoutMs = 2000

// The certificate is for the name that others know, and nothing secret goes this way.
const request = TLS_CERT_FILE
  ? (options, onAnswer) => httpsRequest({ ...options, rejectUnauthorized: false }, onAnswer)
  : httpRequest

function answers(port) {
  return new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port, path, timeout: timeoutMs }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(false))
    asked.end()
  })
}

// One of the two runs here.
const answered = await Promise.all([CONTROL_PLANE_PORT || '4100', TOOL_SERVER_PORT || '4200'].map(answers))
process.exitCode = answered.includes(true) ? 0 : 1
