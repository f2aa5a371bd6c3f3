import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'

// Requests that are sent at one moment and arrive at another, any number of times: what a network, a proxy that
// retries, or somebody with a copy can do to them.

export interface Asked {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly key: string
  readonly body?: object
}

export interface Answered {
  readonly statusCode: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  readonly body: any
}

/** The bytes that Node's HTTP client writes for this request. They go nowhere yet. */
export function capture({ method, path, key, body }: Asked): Promise<Buffer> {
  const written: Buffer[] = []
  const wire = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk)
      done()
    },
  })
  return new Promise((resolve, reject) => {
    const sending = request({
      method,
      path,
      host: '127.0.0.1',
      headers: {
        connection: 'keep-alive',
        'x-org-key': key,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      createConnection: () => wire,
    })
    let finished = false
    sending.on('finish', () => {
      finished = true
      resolve(Buffer.concat(written))
      sending.destroy()
    })
    sending.on('error', (error) => {
      if (!finished) reject(error)
    })
    sending.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

export interface Connection {
  /** Writes the request behind those that are still unanswered, as pipelining allows. */
  readonly deliver: (bytes: Buffer) => Promise<Answered>
  readonly close: () => void
}

export async function openConnection(url: string): Promise<Connection> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const waiting: { resolve: (answer: Answered) => void; reject: (error: Error) => void }[] = []
  readAnswers(socket, (answer) => waiting.shift()?.resolve(answer))
  const fail = () => {
    for (const { reject } of waiting.splice(0)) reject(new Error('the connection was closed'))
  }
  socket.on('error', fail).on('close', fail)
  return {
    deliver: (bytes) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
        socket.write(bytes)
      }),
    close: () => socket.destroy(),
  }
}

/** Answers of the control plane carry their length. */
function readAnswers(socket: Socket, onAnswer: (answer: Answered) => void): void {
  let received = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    for (;;) {
      const headEnd = received.indexOf('\r\n\r\n')
      if (headEnd === -1) return
      const head = received.toString('latin1', 0, headEnd)
      const length = /^content-length: (\d+)$/im.exec(head)?.[1]
      if (length === undefined) throw new Error(`an answer without a length: ${head}`)
      const end = headEnd + 4 + Number(length)
      if (received.length < end) return
      const body: unknown = JSON.parse(received.toString('utf8', headEnd + 4, end))
      received = received.subarray(end)
      onAnswer({ statusCode: Number(head.slice('HTTP/1.1 '.length, 12)), body })
    }
  })
}
