// Keeps many connections busy with validates: `load-client.ts JSON`. Sends { connected } once all are open, begins
// when it is told { go }, answers { count } with what it has counted since it was last asked, ends with its parent.
import { connect, type Socket } from 'node:net'

import { PATHS } from '../../src/machineid/paths.ts'

export interface LoadOptions {
  readonly url: string
  readonly key: string
  readonly connections: number
  readonly deviceIds: readonly string[]
}

export interface LoadCounts {
  readonly answers: number
  readonly byStatus: Readonly<Record<string, number>>
  readonly broken: number
  readonly seconds: number
}

const AT_ONCE = 200

const { url, key, connections, deviceIds } = JSON.parse(process.argv[2] ?? '{}') as LoadOptions
const { hostname, port } = new URL(url)
let answers = 0
let broken = 0
let byStatus: Record<string, number> = {}
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

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** One question after the other, for as long as there are answers. */
function keepBusy(socket: Socket, index: number): () => void {
  const asked = question(index)
  let text = ''
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
    socket.write(asked)
  })
  socket.on('error', () => {})
  socket.on('close', () => void broken++)
  return () => socket.write(asked)
}

const sockets: Socket[] = []
while (sockets.length < connections) {
  const some = Math.min(AT_ONCE, connections - sockets.length)
  sockets.push(...(await Promise.all(Array.from({ length: some }, open))))
}
const begin = sockets.map(keepBusy)
process.on('message', (message: { go?: true; count?: true }) => {
  if (message.go) for (const go of begin) go()
  if (message.count) {
    const seconds = (performance.now() - sinceMs) / 1000
    process.send?.({ answers, byStatus, broken, seconds } satisfies LoadCounts)
  }
  answers = 0
  byStatus = {}
  sinceMs = performance.now()
})
process.on('disconnect', () => process.exit())
process.send?.({ connected: connections })
