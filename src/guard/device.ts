import { GuardMisconfiguredError } from '../errors.ts'

/** `{service}:{env}:{surface}:{instance}`: 1 to 128 characters, at most 8 segments, compared byte for byte. */
const DEVICE_ID = /^[A-Za-z0-9._:-]{1,128}$/
const MAX_SEGMENTS = 8

// Prefixes that key issuers use, and long runs that mix letters and digits as random keys do. A UUID has dashes.
const KEY_PREFIX = /(?:^|[^A-Za-z0-9])(?:org_|sk[-_]|rk_|pk_|ghp_|gho_|github_pat_|xox[abp]-|AKIA|whsec_|eyJ)/
const RANDOM_RUN = /(?=[A-Za-z0-9]{32})(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{32,}/

/** Why this cannot be the ID of a new device, as a sentence with the next step; undefined when it can. */
export function deviceIdProblem(deviceId: unknown): string | undefined {
  if (typeof deviceId !== 'string' || deviceId === '')
    return 'A device ID is required, for example openai-agent:prod:payments:01.'
  if (KEY_PREFIX.test(deviceId) || RANDOM_RUN.test(deviceId)) {
    return 'This device ID looks like it contains a key. IDs are identifiers, not credentials: use for example openai-agent:prod:payments:01.'
  }
  if (!DEVICE_ID.test(deviceId)) {
    return 'A device ID has 1 to 128 characters of A-Z a-z 0-9 . _ : - and is never trimmed. Use for example openai-agent:prod:payments:01.'
  }
  if (deviceId.split(':').length > MAX_SEGMENTS) return `A device ID has at most ${MAX_SEGMENTS} segments.`
  return undefined
}

/** Throws `GUARD_MISCONFIGURED` when `deviceId` cannot be a device ID. `where` names the option or variable. */
export function assertDeviceId(deviceId: unknown, where: string): asserts deviceId is string {
  const problem = deviceIdProblem(deviceId)
  if (problem !== undefined) throw new GuardMisconfiguredError(`${where}: ${problem}`)
}

/** The device of a surface that was declared by name: the server device with its third segment replaced. */
export function surfaceDeviceId(serverDeviceId: string, surface: string): string {
  const segments = serverDeviceId.split(':')
  if (segments.length < 3) {
    throw new GuardMisconfiguredError(
      `Surface "${surface}" needs a server device ID of the form service:env:surface:instance to derive its own, ` +
        `but it is "${serverDeviceId}". Name the surface's device instead: { ${surface}: 'my-agent:prod:${surface}:01' }.`,
    )
  }
  segments[2] = surface
  return segments.join(':')
}
