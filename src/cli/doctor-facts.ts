import type { DiagnosisBody } from '../machineid/wire-drills.ts'
import type { Admins } from './admins.ts'
import type { ReplicaBody, StopBody } from '../machineid/wire-stops.ts'
import type { InspectBody } from '../tool-server-wire.ts'

export type Level = 'ok' | 'warn' | 'fail'

/** One thing that was looked at. What is not `ok` says why it matters and what mends it. */
export interface Finding {
  /** Stable, for scripts: for example `stop-stream`. */
  readonly check: string
  /** What it is about: a URL or a replica. */
  readonly about: string
  readonly level: Level
  readonly what: string
  readonly why?: string
  readonly fix?: string
}

export interface Trouble {
  readonly code: string
  readonly message: string
}

/** How long one call took, and how far the other clock was ahead of ours in the middle of it. */
export interface Timing {
  readonly roundTripMs: number
  readonly clockAheadMs: number
}

/** What a control plane said. Pieces that it would not tell are undefined. */
export interface AuthorityFacts extends Timing {
  readonly diagnosis: DiagnosisBody
  readonly org: {
    readonly disabled: boolean
    readonly by: string | null
    readonly reason: string | null
    readonly since: string | null
  }
  readonly planState: string
  readonly devicesUsed: number
  readonly limit: number
  readonly overdue: number
  /** Undefined without an admin key at hand. */
  readonly admins: Admins | undefined
  readonly replicas: readonly ReplicaBody[]
  /** Stops of the last day. */
  readonly unconfirmed: readonly StopBody[]
}

export interface ToolServerFacts {
  readonly url: string
  /** It gave no answer at all. */
  readonly unreachable?: Trouble
  /** It answers, and does not tell how it is set up. */
  readonly refused?: Trouble
  readonly told?: Timing & { readonly inspect: InspectBody }
}

/** Everything `doctor` looks at, gathered before it judges. */
export interface DoctorFacts {
  readonly authority: {
    readonly url: string
    readonly trouble?: Trouble
    readonly told?: AuthorityFacts
  }
  readonly toolServers: readonly ToolServerFacts[]
  /** The operator's secrets, where a tool server of this machine could read them. */
  readonly operatorFileBesideTools: string | undefined
}

const CLOCK_AHEAD_MS = 2000

/** Half a round trip is what the measure itself cannot tell. */
export function clockFinding(about: string, { clockAheadMs, roundTripMs }: Timing): Finding {
  const offMs = Math.abs(clockAheadMs)
  const off = `${(offMs / 1000).toFixed(1)} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} this machine`
  if (offMs <= CLOCK_AHEAD_MS + roundTripMs / 2) {
    return { check: 'clock', about, level: 'ok', what: 'Its clock agrees with this one.' }
  }
  return {
    check: 'clock',
    about,
    level: 'warn',
    what: `Its clock is ${off}.`,
    why: 'No stop depends on clocks, but approvals, leases and reminders expire by them, and the times of the evidence are read side by side.',
    fix: 'Let both machines follow a time server, for example: timedatectl set-ntp true',
  }
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}
