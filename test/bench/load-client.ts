// Keeps many connections busy with validates: `load-client.ts JSON`. Sends { connected } once all are open, begins
// when it is told { go }, answers { count } with what it has counted since it was last asked, ends with its parent.
import { connect, type Socket } from 'node:net'

import { PATHS } from '../../src/machineid/paths.ts'

export interface LoadOptions {
  /** Of several, connections take one after the other. */
  readonly url: string | readonly string[]
  readonly key: string
  readonly connections: number
  readonly deviceIds: readonly string[]
  /** Whether to tell how long each answer took. Default false. */
  readonly times?: boolean
}

export interface LoadCounts {
  readonly answers: number
  readonly byStatus: Readonly<Record<string, number>>
  readonly broken: number
  readonly seconds: number
  /** In milliseconds. Empty unless `times` was asked for. */
  readonly times: readonly number[]
}

const AT_ONCE = 200

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions
const { key, connections, deviceIds } = options
const urls = [options.url].flat().map((url) => new URL(url))
let answers = 0
let broken = 0
let byStatus: Record<string, number> = {}
let times: number[] = []
let sinceMs = performance.now()

function question(index: number): Buffer {
  const deviceId = deviceIds[index % deviceIds.length]
  const nonce = `nonce-of-connection-${index}`
  const body = JSON.stringify({ deviceIds: [deviceId], nonce, context: { boundary: 'tool' } })
  return Buffer.from(
    `POST ${PATHS.validateBatch} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
}

function open(index: number): Promise<Socket> {
  const { hostname, port } = urls[index % urls.length] as URL
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** One question after the other, for as long as there are answers. */
function keepBusy(socket: Socket, index: number): () => void {
  const asked = question(index)
  let text = ''
  let askedMs = 0
  const ask = () => {
    if (options.times) askedMs = performance.now()
    socket.write(asked)
  }
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    text = text === '' ? chunk : text + chunk
    const head = text.indexOf('\r\n\r\n')
    if (head === -1) return
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1])
    if (text.length < head + 4 + length) return
    answers++
    const status = text.slice(9, 12)
    byStatus[status] = (byStatus[status] ?? 0) + 1
    text = ''
    if (options.times) times.push(performance.now() - askedMs)
    ask()
  })
  socket.on('error', () => {})
  socket.on('close', () => void broken++)
  return ask
}

const sockets: Socket[] = []
while (sockets.length < connections) {
  const some = Math.min(AT_ONCE, connections - sockets.length)
  sockets.push(
    ...(await Promise.all(Array.from({ length: some }, (_, index) => open(sockets.length + index)))),
  )
}
const begin = sockets.map(keepBusy)
process.on('message', (message: { go?: true; count?: true }) => {
  if (message.go) for (const go of begin) go()
  if (message.count) {
    const seconds = (performance.now() - sinceMs) / 1000
    process.send?.({ answers, byStatus, broken, seconds, times } satisfies LoadCounts)
  }
  answers = 0
  byStatus = {}
  times = []
  sinceMs = performance.now()
})
process.on('disconnect', () => process.exit())
process.send?.({ connected: connections })
