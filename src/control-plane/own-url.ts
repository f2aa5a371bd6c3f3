import type { Server } from 'node:http'

/** Where a browser on this machine finds a server that listens. A wildcard address is none to go to. */
export function ownUrl(server: Server, { tls }: { readonly tls: boolean }): string {
  const bound = server.address()
  const { address, port } =
    bound === null || typeof bound === 'string' ? { address: '127.0.0.1', port: 0 } : bound
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[address] ?? address
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
