import { randomBytes, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { systemClock, type Clock } from '../clock.ts'
import { GuardMisconfiguredError, messageOf } from '../errors.ts'
import { timeBudget } from '../guard/time-budget.ts'
import { isLoopback } from '../loopback.ts'
import { isStorable } from './wire-fields.ts'

/**
 * How the authority is asked. `holdpoint`: one `validate_batch` for all devices, whose answer must echo org,
 * devices and nonce. `machineid`: one `validate` per device as hosted MachineID documents it; weaker, because
 * only the request ID tells a fresh answer from an old one.
 */
export type Profile = 'holdpoint' | 'machineid'

/** What `new MachineID()` takes. */
export interface MachineIDOptions {
  /** The org's key, sent as `x-org-key`. Either this or `orgKeyFile`. */
  readonly orgKey?: string | undefined
  /** A file that holds the key, or JSON with the key under `runtime`. Read again when it changes. */
  readonly orgKeyFile?: string | undefined
  /** For example `http://127.0.0.1:4100` or `https://machineid.io`. Plain http only on loopback. */
  readonly baseUrl: string
  /** Default `machineid` when the host is machineid.io, else `holdpoint`. Never changed by an answer. */
  readonly profile?: Profile | undefined
  /** Budget of one call, in milliseconds, 100 to 3,000. Default 2,000. */
  readonly timeoutMs?: number | undefined
  /** The org whose answers count. Default: the first org seen. Profile `holdpoint` only. */
  readonly orgId?: string | undefined
  /** Certificates (PEM) to trust instead of the well-known ones. */
  readonly caPem?: string | undefined
  /**
   * Names this process in the authority's record; no two processes may share a name. 1 to 256 characters. Default
   * `client/` and 8 random hex digits. Profile `holdpoint` only.
   */
  readonly replica?: string | undefined
  /** Default: the system's. For tests. */
  readonly clock?: Clock | undefined
}

/** Variables by name, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Options that were checked. */
export interface Settings {
  readonly endpoint: Endpoint
  readonly profile: Profile
  readonly timeoutMs: number
  readonly orgId: string | undefined
  readonly caPem: string | undefined
  readonly replica: string
  readonly clock: Clock
}

/** Where the authority is: an origin, and what stands before every path. */
interface Endpoint {
  readonly origin: string
  readonly pathPrefix: string
  readonly hostname: string
}

/** Throws `GUARD_MISCONFIGURED` on the first option that cannot work. The key is checked by `OrgKey`. */
export function resolveOptions(options: MachineIDOptions): Settings {
  const endpoint = parseBaseUrl(options.baseUrl)
  const profile = resolveProfile(options.profile, endpoint)
  checkPinnedOrg(options.orgId, profile)
  checkCa(options.caPem)
  checkReplica(options.replica)
  const { orgId, caPem, replica = replicaName('client'), clock = systemClock } = options
  return { endpoint, profile, timeoutMs: timeBudget(options.timeoutMs), orgId, caPem, replica, clock }
}

/** A name for this process that no other has: what it is, and something random. */
export function replicaName(what: string): string {
  return `${what}/${randomBytes(4).toString('hex')}`
}

const HOSTED = new Set(['machineid.io', 'www.machineid.io'])

function parseBaseUrl(baseUrl: unknown): Endpoint {
  const url = typeof baseUrl === 'string' && URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new GuardMisconfiguredError(
      'baseUrl (MACHINEID_BASE_URL) must be an http or https URL. Use http://127.0.0.1:4100 for the control plane that npx holdpoint start runs.',
    )
  }
  // The URL itself may carry a password: never repeated in a message.
  if (url.username !== '' || url.password !== '' || /[?#]/.test(url.href)) {
    throw new GuardMisconfiguredError(
      'baseUrl (MACHINEID_BASE_URL) must not carry credentials, a query or a hash. The key goes into MACHINEID_ORG_KEY.',
    )
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new GuardMisconfiguredError(
      `baseUrl (MACHINEID_BASE_URL) is plain http to ${url.hostname}: anyone between could answer. Use https.`,
    )
  }
  return { origin: url.origin, pathPrefix: url.pathname.replace(/\/+$/, ''), hostname: url.hostname }
}

/** Default: what is asked at that host. Throws for a profile that there is none of. */
export function resolveProfile(profile: unknown, endpoint: Pick<Endpoint, 'hostname'>): Profile {
  if (profile === undefined) return HOSTED.has(endpoint.hostname) ? 'machineid' : 'holdpoint'
  if (profile === 'holdpoint' || profile === 'machineid') return profile
  throw new GuardMisconfiguredError(
    `profile (MACHINEID_PROFILE) must be "holdpoint" or "machineid", not ${JSON.stringify(profile)}.`,
  )
}

function checkPinnedOrg(orgId: unknown, profile: Profile): void {
  if (orgId === undefined) return
  if (typeof orgId !== 'string' || orgId === '') {
    throw new GuardMisconfiguredError('orgId must be the ID of an org, as GET /api/v1/usage shows it.')
  }
  if (profile === 'machineid') {
    throw new GuardMisconfiguredError(
      'orgId cannot be pinned in profile "machineid": its answers do not name the org. Leave orgId out.',
    )
  }
}

function checkReplica(replica: unknown): void {
  const isName = (text: string) => text.length > 0 && text.length <= 256 && isStorable(text)
  if (replica === undefined || (typeof replica === 'string' && isName(replica))) return
  throw new GuardMisconfiguredError(
    'replica must be a name of 1 to 256 characters for this process, for example "tool-server-7". Leave it out for a random one.',
  )
}

function checkCa(caPem: string | undefined): void {
  if (caPem === undefined) return
  try {
    new X509Certificate(caPem)
  } catch (cause) {
    throw new GuardMisconfiguredError(
      'caPem (MACHINEID_CA_FILE) holds no certificate that can be read. It must be PEM: -----BEGIN CERTIFICATE-----',
      { cause },
    )
  }
}

export function assertTlsIsVerified(env: Environment): void {
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return
  throw new GuardMisconfiguredError(
    'NODE_TLS_REJECT_UNAUTHORIZED=0 lets anyone answer for the authority. Unset it, and name a private CA with MACHINEID_CA_FILE.',
  )
}

/** The options that the environment gives; an empty variable counts as unset. */
export function optionsFromEnv(env: Environment): MachineIDOptions {
  assertTlsIsVerified(env)
  const read = (name: string): string | undefined => env[name] || undefined
  const baseUrl = read('MACHINEID_BASE_URL')
  if (baseUrl === undefined) {
    throw new GuardMisconfiguredError(
      'MACHINEID_BASE_URL is required: http://127.0.0.1:4100 for the control plane that npx holdpoint start runs, https://machineid.io for hosted MachineID.',
    )
  }
  const timeout = read('VALIDATE_TIMEOUT_MS')
  return {
    orgKey: read('MACHINEID_ORG_KEY'),
    orgKeyFile: read('MACHINEID_ORG_KEY_FILE'),
    baseUrl,
    // Checked where it is used.
    profile: read('MACHINEID_PROFILE') as Profile | undefined,
    timeoutMs: timeout === undefined ? undefined : /^\d{1,5}$/.test(timeout) ? Number(timeout) : Number.NaN,
    caPem: readCa(read('MACHINEID_CA_FILE')),
  }
}

function readCa(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new GuardMisconfiguredError(`MACHINEID_CA_FILE cannot be read: ${messageOf(cause)}`, { cause })
  }
}
