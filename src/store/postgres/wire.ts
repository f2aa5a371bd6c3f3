import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { Client, type ClientBase, type ClientConfig } from 'pg'

// How a connection is given up: what the driver's types do not name.

interface Wire extends EventEmitter {
  readonly stream: Socket
  readonly connect: (port: number | string, host?: string) => void
  readonly cancel: (processId: number, secretKey: number) => void
}

interface Wired {
  readonly connection: Wire
  readonly processID: number
  readonly secretKey: number
  readonly port: number
  readonly host: string
}

export function destroy(client: ClientBase): void {
  // `end` says good-bye and waits for the answer, which a server that hangs never gives.
  ;(client as unknown as Wired).connection.stream.destroy()
}

/**
 * Tells the server to give up what it still does for a connection that is gone. A COMMIT that waits for a standby would go
 * on waiting, and with each one more connection of the server be taken, until nothing can be stored there any more. It is
 * then in force on this server, though nobody acks it: a stop must be, and must not hold up the next one.
 *
 * By a connection for nothing else, as the protocol has it. Nobody waits for it, and it may fail.
 */
export function cancel(client: ClientBase, config: ClientConfig): void {
  const { processID, secretKey, port, host } = client as unknown as Wired
  const { connection } = new Client(config) as unknown as Wired
  connection.on('error', () => {})
  connection.on('connect', () => connection.cancel(processID, secretKey))
  if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
  else connection.connect(port, host)
  connection.stream.unref().setTimeout(config.connectionTimeoutMillis ?? 0, () => connection.stream.destroy())
}
