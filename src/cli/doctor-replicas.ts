import type { ReplicaBody } from '../machineid/wire-stops.ts'
import { milliseconds, type DoctorFacts, type Finding } from './doctor-facts.ts'

/** Of the key of a process: all others can do what no process should. */
const ASKS_ONLY = 'runtime'

/** The processes that ask the authority, as it sees them. */
export function replicaFindings({
  authority: { url, told },
  operatorFileBesideTools,
}: DoctorFacts): Finding[] {
  const findings: Finding[] = []
  if (operatorFileBesideTools !== undefined) {
    findings.push({
      check: 'operator-file',
      about: operatorFileBesideTools,
      level: 'warn',
      what: 'The operator’s keys lie beside the tools.',
      why: 'Whoever takes over the tool server could read them and restore what you stop. Fine to try things out.',
      fix: 'In production move operator.json to the operator’s machine, or run the control plane under another user, with its own DATA_DIR.',
    })
  }
  if (told === undefined) return findings
  const replicas = told.replicas.filter((replica) => !isGone(replica, told.diagnosis.now))
  if (replicas.length === 0) {
    findings.push({
      check: 'replicas',
      about: url,
      level: 'warn',
      what: 'No process has asked of late.',
      why: 'A stop has nobody to confirm it.',
      fix: 'Start a tool server, or see that MACHINEID_BASE_URL of yours names this control plane.',
    })
  }
  return [...findings, ...replicas.flatMap(ofReplica), ...shared(replicas)]
}

/** As long as a stop waits for word from it. The list shows it for a day. */
const GONE_AFTER_MS = 3_600_000

function isGone({ stream: state, lastSeenAt }: ReplicaBody, now: string): boolean {
  return state === 'down' && Date.parse(now) - Date.parse(lastSeenAt) > GONE_AFTER_MS
}

function ofReplica(replica: ReplicaBody): Finding[] {
  return [
    keyKind(replica),
    stream(replica),
    ...latency(replica.replica, replica.timeoutMs, replica.latencyMs),
  ]
}

function keyKind({ replica, keyKind: kind, keyId, devices }: ReplicaBody): Finding {
  const found = { check: 'key-kind', about: replica, what: `Asks with a key of kind ${kind}.` }
  if (kind === ASKS_ONLY) return { ...found, level: 'ok' }
  const binds = devices.map(({ deviceId }) => ` --bind ${deviceId}`).join('')
  return {
    ...found,
    level: 'warn',
    why: 'A process that is taken over could restore itself with it.',
    fix: `holdpoint keys create --kind runtime${binds}, give that key to the process, then: holdpoint keys burn ${keyId}`,
  }
}

function stream({ replica, stream: state, silent, lastSeenAt }: ReplicaBody): Finding {
  const found = { check: 'stop-stream', about: replica }
  if (state === 'up') return { ...found, level: 'ok', what: 'Listens for stops.' }
  if (silent) {
    return {
      ...found,
      level: 'warn',
      what: `Has not been heard of since ${lastSeenAt}.`,
      why: 'A stop cannot be confirmed by it. If it still runs, its next hold point denies all the same.',
      fix: 'Look whether the process lives. One that ended without saying so drops out an hour after its last sign of life.',
    }
  }
  return {
    ...found,
    level: 'warn',
    what: 'Asks, but its stream of stops is down.',
    why: 'A stop reaches it at its next hold point only: what runs there goes on, and nothing is confirmed.',
    fix: 'Let streams through between it and the control plane: no buffering, and an idle limit above 30 s in every proxy.',
  }
}

type Latency = ReplicaBody['latencyMs']

/** The time budget of a question against what questions take. */
export function latency(about: string, timeoutMs: number | null, measured: Latency): Finding[] {
  if (timeoutMs === null || measured === null) return []
  const what = `Questions take ${milliseconds(measured.p99)} (p99), of ${milliseconds(timeoutMs)} that they may take.`
  if (measured.p99 <= timeoutMs / 2) return [{ check: 'timeout', about, level: 'ok', what }]
  return [
    {
      check: 'timeout',
      about,
      level: 'warn',
      what,
      why: 'A question that gets no answer in time is a denial (AUTHORITY_TIMEOUT): work will stop for no other reason.',
      fix: 'Raise VALIDATE_TIMEOUT_MS (at most 3000), or bring the control plane nearer to the tools.',
    },
  ]
}

/** The server device stands at the front of a replica’s name. */
function serverDeviceOf(replica: string): string {
  const end = replica.lastIndexOf('/')
  return end === -1 ? replica : replica.slice(0, end)
}

function shared(replicas: readonly ReplicaBody[]): Finding[] {
  const living = replicas.filter(({ silent }) => !silent)
  const users = Map.groupBy(
    living.flatMap(({ replica, devices }) => devices.map(({ deviceId }) => ({ deviceId, replica }))),
    ({ deviceId }) => deviceId,
  )
  const servers = new Set(living.map(({ replica }) => serverDeviceOf(replica)))
  return [...users]
    .filter(([, holders]) => holders.length > 1)
    .map(([deviceId, holders]) => {
      const found = {
        check: 'shared-device',
        about: deviceId,
        what: `${holders.length} processes share it: ${holders.map(({ replica }) => replica).join(', ')}.`,
      }
      if (!servers.has(deviceId)) return { ...found, level: 'ok' }
      return {
        ...found,
        level: 'warn',
        why: 'It is their server device, so none of them can be stopped without the others.',
        fix: 'Give each its own MACHINEID_DEVICE_ID, for example with :02 at the end.',
      }
    })
}
