import type { Clock } from '../clock.ts'
import type { Answer, Authority, Question, Registration, Unanswered } from '../guard/authority.ts'
import type { DenialCode } from '../guard/decision.ts'
import { deviceIdProblem } from '../guard/device.ts'
import { AuthorityFailure, failClosed, unanswered } from '../guard/fail-closed.ts'
import type { StopStream, StopStreamOptions } from '../guard/stop-stream.ts'
import { createApprovalsClient, type ApprovalsClient } from './approvals-client.ts'
import { Deadline } from './deadline.ts'
import { manage, type CallOptions, type ManagementCall, type Result } from './management.ts'
import {
  managementSchemas,
  type Changed,
  type DeviceList,
  type ManagementSchemas,
  type Registered,
  type Usage,
} from './management-values.ts'
import {
  assertTlsIsVerified,
  optionsFromEnv,
  resolveOptions,
  type Environment,
  type MachineIDOptions,
  type Profile,
} from './options.ts'
import { OrgKey } from './org-key.ts'
import { OrgMemory } from './org-memory.ts'
import { HoldpointProfile } from './profile-holdpoint.ts'
import { MachineidProfile } from './profile-machineid.ts'
import type { AskingProfile, Connection } from './profile.ts'
import { createRunReports, type RunReports } from './run-reports.ts'
import { openStopStream } from './stop-stream.ts'
import { Transport } from './transport.ts'
import { validateResult, type ValidateOptions, type ValidateResult } from './validate.ts'
import { PATHS } from './paths.ts'
import { MAX_BATCH_DEVICES } from './wire.ts'

export type { ValidateResult } from './validate.ts'

/** What `register` takes. */
export interface RegisterOptions extends CallOptions {
  /** The operators' own names and values, at most 64 and 256 characters long. */
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/** What a stop or a restore takes. */
export interface ChangeOptions extends CallOptions {
  /** For the audit, up to 500 characters. */
  readonly reason?: string | undefined
}

/** What `unrevoke` takes. */
export interface RestoreOptions extends ChangeOptions {
  /** The `epoch` of the stop that is to be undone. A later stop makes it stale: `EPOCH_STALE` (G6). */
  readonly ifEpoch?: number | undefined
}

/**
 * The client of the authority: our control plane, or hosted MachineID. Its methods have the names that MachineID's
 * Python SDK gives them. They never reject: what goes wrong is a denial or a refusal with a code. Opens nothing
 * before the first call; `close()` ends its connections.
 */
export class MachineID implements Authority {
  /** Which of the two ways of asking is used. */
  readonly profile: Profile
  /** Opens the stream of stops. Undefined in profile `machineid`: hosted MachineID pushes none. */
  readonly openStops: ((options: StopStreamOptions) => StopStream) | undefined
  /** The desk where people decide on calls that wait. Undefined in profile `machineid`: hosted MachineID has none. */
  readonly approvals: ApprovalsClient | undefined
  /** Where a tool server tells of its runs. Undefined in profile `machineid`. */
  readonly runReports: RunReports | undefined
  readonly #streams = new Set<StopStream>()
  readonly #timeoutMs: number
  readonly #clock: Clock
  readonly #connection: Connection
  /** For what no hold point waits for: it takes no connection from the questions. */
  readonly #aside: Connection
  readonly #asking: AskingProfile
  readonly #schemas: ManagementSchemas

  /** Throws `GuardMisconfiguredError` (`GUARD_MISCONFIGURED`) on options that cannot work. Sends nothing. */
  constructor(options: MachineIDOptions) {
    assertTlsIsVerified(processEnvironment())
    const { endpoint, profile, timeoutMs, orgId, caPem, replica, clock } = resolveOptions(options)
    this.profile = profile
    this.#timeoutMs = timeoutMs
    this.#clock = clock
    this.#schemas = managementSchemas(profile)
    const network = { origin: endpoint.origin, caPem, connectTimeoutMs: timeoutMs, clock }
    this.#connection = {
      transport: new Transport({ ...network, keepAlive: profile === 'holdpoint' }),
      key: new OrgKey(options, clock),
      pathPrefix: endpoint.pathPrefix,
      org: new OrgMemory(orgId),
      clock,
    }
    this.#aside = { ...this.#connection, transport: new Transport({ ...network, keepAlive: true }) }
    this.#asking =
      profile === 'holdpoint'
        ? new HoldpointProfile(this.#connection, replica)
        : new MachineidProfile(this.#connection)
    if (profile === 'machineid') return
    this.approvals = createApprovalsClient(this.#aside, timeoutMs)
    this.runReports = createRunReports(this.#aside, { replica, timeoutMs })
    this.openStops = (stops) => {
      // Of two streams with one name the authority ends the older.
      const name = this.#streams.size === 0 ? replica : `${replica}/${this.#streams.size + 1}`
      const stream = openStopStream({ ...this.#connection, ...network, replica: name, timeoutMs }, stops)
      this.#streams.add(stream)
      return stream
    }
  }

  /**
   * Reads `MACHINEID_ORG_KEY` or `MACHINEID_ORG_KEY_FILE`, `MACHINEID_BASE_URL`, `MACHINEID_CA_FILE`,
   * `MACHINEID_PROFILE` and `VALIDATE_TIMEOUT_MS`. Throws `GuardMisconfiguredError` as the constructor does.
   */
  static fromEnv(
    env: Environment = processEnvironment(),
    overrides: Partial<MachineIDOptions> = {},
  ): MachineID {
    return new MachineID({ ...optionsFromEnv(env), ...overrides })
  }

  /** May work of this device begin? Asked anew each time, and good for one start right now (G2). */
  async validate(deviceId: string, options: ValidateOptions = {}): Promise<ValidateResult> {
    const { boundary = 'task', timeoutMs = this.#timeoutMs, ...rest } = options
    const startMs = this.#clock.now().monotonicMs
    const answer = await this.ask({ ...rest, deviceIds: [deviceId], boundary, timeoutMs })
    return validateResult(deviceId, answer, this.#clock.now().monotonicMs - startMs)
  }

  /** One question for all its devices, within one deadline (G2, G4). */
  async ask(question: Question): Promise<Answer> {
    const answer = await failClosed<Answer>(async () => {
      assertDevices(question.deviceIds)
      const deadline = new Deadline(question.timeoutMs, question.signal, this.#clock)
      try {
        return await this.#asking.ask(question, deadline)
      } finally {
        deadline.close()
      }
    })
    if (!answer.answered && answer.code === 'AUTHORITY_UNAUTHORIZED') this.#connection.key.refused()
    return answer
  }

  /** Makes the device known; idempotent. Never restores a revoked one. */
  register(deviceId: string, options: RegisterOptions = {}): Promise<Result<Registered>> {
    const { labels, ...rest } = options
    return this.#manage(
      { ...aboutDevice(deviceId), path: PATHS.register, schema: this.#schemas.register, retry: true },
      { deviceId, labels },
      rest,
    )
  }

  /** `register`, as the guard asks for it. */
  async registerDevice(deviceId: string, options: { readonly timeoutMs: number }): Promise<Registration> {
    // An unset budget must not become the default one here: the port says who chooses it.
    const result = await this.register(deviceId, { timeoutMs: options.timeoutMs ?? Number.NaN })
    if (result.ok) return { answered: true, registered: true, requestId: result.requestId }
    const { answered, code, requestId, cause } = result
    return answered ? { answered, registered: false, code, requestId } : noAnswer(code, requestId, cause)
  }

  /** Every device of the org, revoked ones too. */
  listDevices(options: CallOptions = {}): Promise<Result<DeviceList>> {
    return this.#manage(
      { method: 'GET', path: PATHS.list, schema: this.#schemas.list, retry: true },
      undefined,
      options,
    )
  }

  /** Plan, device counts, and whether the org is disabled. */
  usage(options: CallOptions = {}): Promise<Result<Usage>> {
    return this.#manage(
      { method: 'GET', path: PATHS.usage, schema: this.#schemas.usage, retry: true },
      undefined,
      options,
    )
  }

  /** Stops the device. When this is `ok`, no later hold point lets it pass (G1). */
  revoke(deviceId: string, options: ChangeOptions = {}): Promise<Result<Changed>> {
    return this.#changeDevice(PATHS.revoke, deviceId, options, { retry: true })
  }

  /** Undoes a stop. Never sent twice by itself: a stop may have come in between (G6). */
  unrevoke(deviceId: string, options: RestoreOptions = {}): Promise<Result<Changed>> {
    return this.#changeDevice(PATHS.unrevoke, deviceId, options, { retry: false })
  }

  /** The same as `unrevoke`. */
  restore(deviceId: string, options: RestoreOptions = {}): Promise<Result<Changed>> {
    return this.unrevoke(deviceId, options)
  }

  /** Removes the device and frees its slot. With hosted MachineID stop with `revoke`, never with this. */
  remove(deviceId: string, options: ChangeOptions = {}): Promise<Result<Changed>> {
    return this.#changeDevice(PATHS.remove, deviceId, options, { retry: false })
  }

  /** Stops every device of the org. */
  disableOrg(options: ChangeOptions = {}): Promise<Result<Changed>> {
    return this.#changeOrg(PATHS.orgDisable, options, { retry: true })
  }

  /** Undoes `disableOrg`; devices keep their own state. */
  enableOrg(options: RestoreOptions): Promise<Result<Changed>> {
    return this.#changeOrg(PATHS.orgEnable, options, { retry: false })
  }

  /** Ends its connections. Calls that are waiting, and later ones, are denied `GUARD_SHUTTING_DOWN`. */
  async close(): Promise<void> {
    // Whether anything still runs here is known to whoever opened them, and said by closing them first.
    await Promise.all([...this.#streams].map((stream) => stream.close({ leaving: false })))
    await Promise.all([this.#connection, this.#aside].map(({ transport }) => transport.close()))
  }

  #changeDevice(
    path: string,
    deviceId: string,
    { reason, ifEpoch, ...options }: RestoreOptions,
    { retry }: { readonly retry: boolean },
  ): Promise<Result<Changed>> {
    const call = { ...aboutDevice(deviceId), path, schema: this.#schemas.change, retry }
    return this.#manage(call, { deviceId, ifEpoch, reason }, options)
  }

  #changeOrg(
    path: string,
    { reason, ifEpoch, ...options }: RestoreOptions,
    { retry }: { readonly retry: boolean },
  ): Promise<Result<Changed>> {
    const call = { method: 'POST', path, schema: this.#schemas.change, retry } as const
    return this.#manage(call, { ifEpoch, reason }, options)
  }

  #manage<T>(
    call: Omit<ManagementCall<T>, 'timeoutMs' | 'body'>,
    body: Readonly<Record<string, unknown>> | undefined,
    { timeoutMs = this.#timeoutMs, signal }: CallOptions,
  ): Promise<Result<T>> {
    return manage(this.#connection, { ...call, body, timeoutMs, signal })
  }
}

function aboutDevice(deviceId: string): Pick<ManagementCall<unknown>, 'method' | 'deviceId' | 'problem'> {
  return { method: 'POST', deviceId, problem: deviceIdProblem(deviceId) }
}

function assertDevices(deviceIds: readonly unknown[]): void {
  if (!Array.isArray(deviceIds) || deviceIds.length === 0 || deviceIds.length > MAX_BATCH_DEVICES) {
    throw new AuthorityFailure(
      'GUARD_MISCONFIGURED',
      `A question is about 1 to ${MAX_BATCH_DEVICES} devices.`,
    )
  }
  for (const deviceId of deviceIds) {
    const problem = deviceIdProblem(deviceId)
    if (problem !== undefined) throw new AuthorityFailure('GUARD_MISCONFIGURED', problem)
  }
}

function noAnswer(code: DenialCode, requestId: string | undefined, cause: unknown): Unanswered {
  return requestId === undefined ? unanswered(code, cause) : { answered: false, code, requestId, cause }
}

function processEnvironment(): Environment {
  // oxlint-disable-next-line node/no-process-env -- fromEnv() takes no argument by contract, and Node obeys NODE_TLS_REJECT_UNAUTHORIZED whoever sets it
  return process.env
}
