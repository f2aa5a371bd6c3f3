// Streams of stops on bare sockets, which come back as the protocol has it when they are hung up on:
// `stops-sockets.ts JSON`. Sends { open } once all were told what is current.
import { connect, type Socket } from 'node:net'

import { PATHS } from '../../src/machineid/paths.ts'
import { machineMs, serveRemote } from '../../demo/fleet/remote.ts'

export interface SocketsSettings {
  readonly url: string
  readonly key: string
  /** How replicas are called: `name/0`, `name/1`, … */
  readonly name: string
  readonly count: number
  readonly devices: readonly string[]
  /** Reads nothing more once it is open, and does not come back. Default false. */
  readonly slow?: boolean
}

export type SocketsApi = typeof api

const AT_ONCE = 100
const settings = JSON.parse(process.argv[2] ?? '{}') as SocketsSettings
const { url, key, name, count, devices, slow = false } = settings
const { hostname, port } = new URL(url)
let open = 0
let cameBack = 0
/** By epoch: when each stream was told. */
const stops = new Map<number, number[]>()

function note(epoch: number): void {
  const told = stops.get(epoch)
  if (told === undefined) stops.set(epoch, [machineMs()])
  else told.push(machineMs())
}

function openOne(index: number, after?: number): Promise<void> {
  const query = new URLSearchParams({ replica: `${name}/${index}`, devices: devices.join(',') })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket: Socket = connect({ host: hostname, port: Number(port) }, () => {
    const last = after === undefined ? '' : `last-event-id: ${after}\r\n`
    socket.write(
      `GET ${PATHS.stops}?${query.toString()} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${key}\r\n${last}\r\n`,
    )
  })
  let text = ''
  let lastEpoch = after
  let current = false
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    text += chunk
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('HTTP/1.1') && !line.includes(' 200 ')) reject(new Error(line))
      if (!line.startsWith('data: ')) continue
      const { type, epoch } = JSON.parse(line.slice(6)) as { type: string; epoch: number }
      if (type === 'stop') note(epoch)
      if (type === 'stop' || type === 'current') lastEpoch = epoch
      if (type === 'current') {
        current = true
        open += 1
        if (slow) socket.pause()
        resolve()
      }
    }
  })
  socket.on('error', reject)
  socket.on('close', () => {
    if (!current) return
    open -= 1
    if (slow) return
    cameBack += 1
    void openOne(index, lastEpoch)
  })
  return promise
}

const api = {
  open: () => open,
  cameBack: () => cameBack,
  /** How many streams were told of this stop. */
  told: (epoch: number) => stops.get(epoch)?.length ?? 0,
  /** When, in `machineMs`. */
  toldMs: (epoch: number) => stops.get(epoch) ?? [],
  /** How many stops came, over all streams. */
  stops: () => stops.values().reduce((sum, one) => sum + one.length, 0),
}

serveRemote(api)
for (let opened = 0; opened < count; opened += AT_ONCE) {
  const some = Math.min(AT_ONCE, count - opened)
  await Promise.all(Array.from({ length: some }, (_, index) => openOne(opened + index)))
}
process.send?.({ open })
