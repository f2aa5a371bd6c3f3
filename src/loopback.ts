import type { IncomingMessage } from 'node:http'

/** True for names and addresses that only this machine can reach, with or without the brackets of a URL. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|\[?::1\]?|(?:::ffff:)?127(?:\.\d{1,3}){3})$/.test(host)
}

const RELAYED = ['x-forwarded-for', 'forwarded', 'x-real-ip']

/**
 * True only when its connection does, and no proxy says that it was relayed: whoever that is for, it is no local one.
 * `peer`: the other end of the connection, where the socket's own is that of a part of ours.
 */
export function comesFromHere(
  { socket, headers }: IncomingMessage,
  peer: string | null | undefined = socket.remoteAddress,
): boolean {
  return isLoopback(peer ?? '') && !RELAYED.some((name) => headers[name] !== undefined)
}
