import { describe, expect, test } from 'vitest'

import type { AuthorityFacts, DoctorFacts, Finding, ToolServerFacts } from '../../src/cli/doctor-facts.ts'
import { findingsOf } from '../../src/cli/doctor-findings.ts'
import type { StopBody } from '../../src/machineid/wire-stops.ts'
import type { InspectBody } from '../../src/tool-server-wire.ts'

const AT = '2026-11-22T08:00:00.000Z'
const SERVER = 'agent:prod:tool-server:01'
const REPLICA = `${SERVER}/aaaa0001`

const replica: AuthorityFacts['replicas'][number] = {
  replica: REPLICA,
  keyId: 'k1',
  keyKind: 'runtime',
  stream: 'up',
  lastSeenAt: AT,
  silent: false,
  devices: [
    { deviceId: SERVER, inFlight: 0 },
    { deviceId: 'agent:prod:payments:01', inFlight: 0 },
  ],
  timeoutMs: 2000,
  latencyMs: { p50: 1, p99: 4 },
  lastDenied: null,
}
const told: AuthorityFacts = {
  roundTripMs: 5,
  clockAheadMs: 0,
  diagnosis: {
    status: 'ok',
    handler: 'diagnosis',
    request_id: 'r',
    orgId: 'o_1',
    now: AT,
    store: { kind: 'sqlite', version: '3.53.4', journalMode: 'wal', synchronous: 'full', generation: 0 },
    nodes: 1,
    validateWorkers: 1,
    decisionLog: 'denials',
    streams: 1,
  },
  org: { disabled: false, by: null, reason: null, since: null },
  planState: 'active',
  devicesUsed: 2,
  limit: 3,
  overdue: 0,
  admins: { owners: 1, keyIds: ['k8', 'k9'] },
  replicas: [replica],
  unconfirmed: [],
}
const effect: InspectBody['tools'][number]['effects'][number] = {
  name: 'pay',
  kind: 'payment',
  surfaces: ['payments'],
  key: 'business',
  reconcile: true,
  onStop: 'finish',
}
const inspect: InspectBody = {
  replica: REPLICA,
  serverDeviceId: SERVER,
  surfaces: [],
  profile: 'holdpoint',
  authority: { origin: 'http://127.0.0.1:4100', answered: true, code: null },
  now: AT,
  timeoutMs: 2000,
  latencyMs: { p50: 1, p99: 4 },
  stopStream: { state: 'up', since: AT, reason: null, keyKind: 'runtime' },
  inFlight: [],
  tools: [{ name: 'send_payment', surfaces: ['payments'], guarded: true, agent: null, effects: [effect] }],
  journal: { kind: 'sqlite', journalMode: 'wal', synchronous: 'full', unknownOutcomes: 0 },
}
const URL = 'http://127.0.0.1:4200'

interface Change {
  readonly told?: Partial<AuthorityFacts>
  readonly replica?: Partial<typeof replica>
  readonly inspect?: Partial<InspectBody>
  readonly timing?: { readonly clockAheadMs: number }
  readonly server?: ToolServerFacts
  readonly facts?: Partial<DoctorFacts>
}

function facts(change: Change = {}): DoctorFacts {
  const replicas = [{ ...replica, ...change.replica }]
  const server: ToolServerFacts = change.server ?? {
    url: URL,
    told: { roundTripMs: 5, clockAheadMs: 0, ...change.timing, inspect: { ...inspect, ...change.inspect } },
  }
  return {
    authority: { url: 'http://127.0.0.1:4101', told: { ...told, replicas, ...change.told } },
    toolServers: [server],
    operatorFileBesideTools: undefined,
    ...change.facts,
  }
}

const bad = (findings: readonly Finding[]) => findings.filter(({ level }) => level !== 'ok')
const stop = { epoch: 12, action: 'org.disable', at: AT, state: 'unconfirmed' } as StopBody
type Store<Kind> = Extract<AuthorityFacts['diagnosis']['store'], { kind: Kind }>
const SQLITE: Store<'sqlite'> = {
  kind: 'sqlite',
  version: '3.53.4',
  journalMode: 'wal',
  synchronous: 'full',
  generation: 0,
}
const POSTGRES: Store<'postgres'> = {
  kind: 'postgres',
  version: '18.4',
  fsync: 'on',
  fullPageWrites: 'on',
  synchronousCommit: 'on',
  synchronousStandbyNames: 'standby',
  synchronousStandbys: 1,
  consistency: 'quorum',
  failover: { g1: 'holds', g5: 'holds' },
  generation: 0,
}
const storedIn = (store: AuthorityFacts['diagnosis']['store']) => ({
  told: { diagnosis: { ...told.diagnosis, store } },
})
const diagnosed = (change: Partial<Store<'sqlite'>>) => storedIn({ ...SQLITE, ...change })
const onPostgres = (change: Partial<Store<'postgres'>>) => storedIn({ ...POSTGRES, ...change })

test('a sound setup has nothing but ok', () => {
  const findings = findingsOf(facts())
  expect(bad(findings)).toEqual([])
  expect(bad(findingsOf(facts(onPostgres({}))))).toEqual([])
  expect(findings.map(({ check }) => check)).toEqual([
    'control-plane',
    'clock',
    'authority-store',
    'decision-log',
    'admins',
    'stops',
    'key-kind',
    'stop-stream',
    'timeout',
    'tool-server',
    'clock',
    'profile',
    'authority',
    'unguarded',
    'journal',
    'unknown-outcomes',
  ])
})

const CASES: { name: string; change: Change; check: string; level: 'warn' | 'fail'; says: string }[] = [
  {
    name: 'the control plane is away',
    change: {
      facts: {
        authority: {
          url: 'u',
          trouble: { code: 'UNREACHABLE', message: 'The control plane is not reachable at u' },
        },
      },
    },
    check: 'control-plane',
    level: 'fail',
    says: 'not reachable',
  },
  {
    name: 'its clock is ahead',
    change: { told: { clockAheadMs: 5000 } },
    check: 'clock',
    level: 'warn',
    says: '5.0 s ahead',
  },
  {
    name: 'its clock is behind',
    change: { told: { clockAheadMs: -2500 } },
    check: 'clock',
    level: 'warn',
    says: '2.5 s behind',
  },
  {
    name: 'it does not sync to disk (G5)',
    change: diagnosed({ synchronous: 'normal' }),
    check: 'authority-store',
    level: 'fail',
    says: 'synchronous=normal',
  },
  {
    name: 'it does not write ahead',
    change: diagnosed({ journalMode: 'delete' }),
    check: 'authority-store',
    level: 'fail',
    says: 'journal_mode=delete',
  },
  {
    name: 'its Postgres does not sync to disk (G5)',
    change: onPostgres({ fsync: 'off' }),
    check: 'authority-store',
    level: 'fail',
    says: 'fsync=off',
  },
  {
    name: 'its Postgres may write half a page (G5)',
    change: onPostgres({ fullPageWrites: 'off' }),
    check: 'authority-store',
    level: 'warn',
    says: 'Postgres 18.4',
  },
  {
    name: 'a failover of its Postgres can lose stops (G1, G5)',
    change: onPostgres({ synchronousStandbyNames: '', failover: { g1: 'no', g5: 'no' } }),
    check: 'authority-store',
    level: 'warn',
    says: "synchronous_standby_names=''",
  },
  {
    name: 'the old primary of its Postgres must be fenced off (G1)',
    change: onPostgres({ consistency: 'primary', failover: { g1: 'fencing', g5: 'holds' } }),
    check: 'authority-store',
    level: 'warn',
    says: 'CONSISTENCY=primary',
  },
  {
    name: 'the org is disabled',
    change: { told: { org: { disabled: true, by: 'k9', reason: 'fire\ndrill', since: AT } } },
    check: 'org',
    level: 'warn',
    says: 'by k9 since 2026-11-22T08:00:00.000Z: "fire drill"',
  },
  {
    name: 'the plan is frozen',
    change: { told: { planState: 'frozen' } },
    check: 'plan',
    level: 'fail',
    says: 'frozen',
  },
  {
    name: 'there are more devices than the plan has room for',
    change: { told: { devicesUsed: 4 } },
    check: 'plan',
    level: 'fail',
    says: '4 devices',
  },
  {
    name: 'nobody could get in again without the admin keys',
    change: { told: { admins: { owners: 0, keyIds: ['k8', 'k9'] } } },
    check: 'admins',
    level: 'warn',
    says: '2 admin keys and no owners',
  },
  {
    name: 'a stop is overdue',
    change: { told: { overdue: 1 } },
    check: 'overdue',
    level: 'warn',
    says: 'One stop is past',
  },
  {
    name: 'a stop is unconfirmed',
    change: { told: { unconfirmed: [stop] } },
    check: 'stops',
    level: 'warn',
    says: 'unconfirmed',
  },
  {
    name: 'a runtime holds a key that can restore',
    change: { replica: { keyKind: 'full' } },
    check: 'key-kind',
    level: 'warn',
    says: 'kind full',
  },
  {
    name: 'a runtime holds an operator’s key',
    change: { replica: { keyKind: 'operator' } },
    check: 'key-kind',
    level: 'warn',
    says: 'kind operator',
  },
  {
    name: 'a stream is down',
    change: { replica: { stream: 'down' } },
    check: 'stop-stream',
    level: 'warn',
    says: 'is down',
  },
  {
    name: 'a replica is silent',
    change: { replica: { stream: 'down', silent: true } },
    check: 'stop-stream',
    level: 'warn',
    says: 'not been heard of',
  },
  {
    name: 'questions take more than half of the time they may',
    change: { replica: { latencyMs: { p50: 1, p99: 1001 } } },
    check: 'timeout',
    level: 'warn',
    says: '1001 ms (p99), of 2000 ms',
  },
  {
    name: 'the operator’s file lies beside the tools',
    change: { facts: { operatorFileBesideTools: '/x/operator.json' } },
    check: 'operator-file',
    level: 'warn',
    says: 'beside the tools',
  },
  {
    name: 'a tool server is away',
    change: {
      server: { url: URL, unreachable: { code: 'UNREACHABLE', message: 'The tool server is not reachable' } },
    },
    check: 'tool-server',
    level: 'fail',
    says: 'not reachable',
  },
  {
    name: 'a tool server does not know the token',
    change: {
      server: { url: URL, refused: { code: 'CALLER_UNAUTHENTICATED', message: 'does not know this token' } },
    },
    check: 'tool-server',
    level: 'fail',
    says: 'token',
  },
  {
    name: 'a tool server’s clock is off',
    change: { timing: { clockAheadMs: -9000 } },
    check: 'clock',
    level: 'warn',
    says: '9.0 s behind',
  },
  {
    name: 'it asks hosted MachineID',
    change: { inspect: { profile: 'machineid' } },
    check: 'profile',
    level: 'warn',
    says: 'machineid',
  },
  {
    name: 'it gets no answers',
    change: { inspect: { authority: { origin: 'http://a', answered: false, code: 'AUTHORITY_TLS' } } },
    check: 'authority',
    level: 'fail',
    says: 'AUTHORITY_TLS',
  },
  {
    name: 'it asks another authority than the one where stops are made',
    change: { inspect: { replica: `${SERVER}/bbbb` } },
    check: 'authority',
    level: 'fail',
    says: 'does not know it',
  },
  {
    name: 'its stream is off',
    change: {
      inspect: { stopStream: { state: 'off', since: null, reason: 'hosted MachineID', keyKind: null } },
    },
    check: 'stop-stream',
    level: 'warn',
    says: 'not pushed to it (hosted MachineID)',
  },
  {
    name: 'its stream is down',
    change: {
      inspect: { stopStream: { state: 'down', since: AT, reason: 'AUTHORITY_TIMEOUT', keyKind: null } },
    },
    check: 'stop-stream',
    level: 'warn',
    says: 'is down (AUTHORITY_TIMEOUT)',
  },
  {
    name: 'a tool is not guarded',
    change: {
      inspect: { tools: [{ name: 'shell', surfaces: [], guarded: false, agent: 'helper', effects: [] }] },
    },
    check: 'unguarded',
    level: 'warn',
    says: 'shell of the agent helper',
  },
  {
    name: 'a payment has no business key',
    change: {
      inspect: {
        tools: [
          {
            name: 'pay',
            surfaces: ['payments'],
            guarded: true,
            agent: null,
            effects: [{ ...effect, key: 'each-call' }],
          },
        ],
      },
    },
    check: 'business-key',
    level: 'warn',
    says: 'The payment of the tool pay',
  },
  {
    name: 'its journal is in memory',
    change: {
      inspect: { journal: { kind: 'memory', journalMode: null, synchronous: null, unknownOutcomes: 0 } },
    },
    check: 'journal',
    level: 'warn',
    says: 'in memory',
  },
  {
    name: 'its journal does not sync (G8)',
    change: { inspect: { journal: { ...inspect.journal, synchronous: 'normal' } } },
    check: 'journal',
    level: 'fail',
    says: 'synchronous=normal',
  },
  {
    name: 'its journal cannot be read',
    change: { inspect: { journal: { ...inspect.journal, unknownOutcomes: null } } },
    check: 'unknown-outcomes',
    level: 'fail',
    says: 'cannot be read',
  },
  {
    name: 'effects have no known outcome',
    change: { inspect: { journal: { ...inspect.journal, unknownOutcomes: 2 } } },
    check: 'unknown-outcomes',
    level: 'warn',
    says: 'Of 2 effects',
  },
]

describe('one thing that is wrong is one finding, with why it matters and its fix', () => {
  test.each(CASES)('$name', ({ change, check, level, says }) => {
    const found = bad(findingsOf(facts(change)))
    expect(found.map((finding) => `${finding.level} ${finding.check}`)).toEqual([`${level} ${check}`])
    const [finding] = found
    expect(finding?.what).toContain(says)
    expect(finding?.why).toMatch(/\.$/)
    expect(finding?.fix).toBeTruthy()
  })
})

describe('what several replicas share', () => {
  const second = { ...replica, replica: `${SERVER}/aaaa0002` }
  const checks = (replicas: AuthorityFacts['replicas']) =>
    findingsOf(facts({ told: { replicas } })).filter(({ check }) => check === 'shared-device')

  test('a server device is a warning, a surface’s device is as it may be', () => {
    expect(checks([replica, second]).map(({ about, level }) => [about, level])).toEqual([
      [SERVER, 'warn'],
      ['agent:prod:payments:01', 'ok'],
    ])
  })

  test('one that was replaced, and is silent, shares nothing', () => {
    expect(checks([{ ...replica, silent: true, stream: 'down' }, second])).toEqual([])
  })

  test('one that ended without saying so is looked at for an hour, as a stop waits for it, and no longer', () => {
    const ago = (ms: number) => ({
      ...second,
      stream: 'down' as const,
      silent: true,
      lastSeenAt: new Date(Date.parse(AT) - ms).toISOString(),
    })
    const about = (ms: number) =>
      findingsOf(facts({ told: { replicas: [replica, ago(ms)] } })).filter(
        (finding) => finding.about === second.replica && finding.level !== 'ok',
      )
    expect(about(3_600_000).map(({ check }) => check)).toEqual(['stop-stream'])
    expect(about(3_600_001)).toEqual([])
  })

  test('nobody there is a warning of its own', () => {
    const found = bad(
      findingsOf(
        facts({ told: { replicas: [] }, server: { url: URL, unreachable: { code: 'X', message: 'm' } } }),
      ),
    )
    expect(found.map(({ check }) => check)).toEqual(['replicas', 'tool-server'])
  })
})

test('a slow network is no wrong clock: half a round trip is allowed for', () => {
  const slow = { roundTripMs: 2000, clockAheadMs: 2900 }
  expect(bad(findingsOf(facts({ told: slow })))).toEqual([])
})

test('a tool that two agents have is told once, and each-call emails are told without a warning', () => {
  const email = {
    name: 'mail',
    surfaces: ['email'],
    guarded: true,
    effects: [{ ...effect, kind: 'email', key: 'each-call' as const }],
  }
  const tools = [
    { ...email, agent: null },
    { ...email, agent: 'a' },
  ]
  const found = findingsOf(facts({ inspect: { tools } })).filter(({ check }) => check === 'business-key')
  expect(found).toMatchObject([{ level: 'ok', what: expect.stringMatching(/mail \(email\)\.$/) }])
})
