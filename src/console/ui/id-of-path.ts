/** The last segment of where we are, as it was before it was put into the address. The router's own is half decoded. */
export function idOfPath(path: string): string {
  const last = path.split('/').at(-1) ?? ''
  try {
    return decodeURIComponent(last)
  } catch {
    return last
  }
}
