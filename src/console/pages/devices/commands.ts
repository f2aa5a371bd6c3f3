/** As a shell takes it: quoted when there is anything in it that a shell would read. */
function quoted(text: string): string {
  return /^[A-Za-z0-9._:/=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

// What would do the same from a terminal (src/cli).

export const revokeCommand = (deviceId: string) =>
  `npx holdpoint devices revoke ${quoted(deviceId)} --reason 'why'`
export const restoreCommand = (deviceId: string) => `npx holdpoint devices restore ${quoted(deviceId)}`
export const removeCommand = (deviceId: string) => `npx holdpoint devices rm ${quoted(deviceId)}`
export const lockCommand = (pattern: string) => `npx holdpoint lock add ${quoted(pattern)} --reason 'why'`
