/** True for names and addresses that only this machine can reach, with or without the brackets of a URL. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|\[?::1\]?|(?:::ffff:)?127(?:\.\d{1,3}){3})$/.test(host)
}
