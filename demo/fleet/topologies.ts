import { deviceOf, devices, shared, type LaneSpec, type ReplicaSpec, type Topology } from './topology.ts'

const consumer = (deviceId: string): ReplicaSpec => ({
  deviceId,
  surfaces: {},
  lanes: [{ gate: 'consumer', name: 'jobs' }],
})
const job = (deviceId: string): ReplicaSpec => ({
  deviceId,
  surfaces: {},
  lanes: [{ gate: 'job', name: 'nightly', effect: 'write' }],
})

const threeWorkers: Topology = {
  name: '3-worker',
  about: 'a queue consumer, the tool runner that it calls, a scheduled job',
  plan: 'free',
  replicas: [
    {
      deviceId: 'worker:dev:queue-consumer:01',
      surfaces: { 'external-calls': 'tool:dev:external-call-runner:01' },
      lanes: [
        { gate: 'consumer', name: 'jobs' },
        { gate: 'tool', name: 'call_external', on: ['external-calls'] },
      ],
    },
    job('job:dev:nightly-maintenance:01'),
  ],
  tooMany: consumer('worker:dev:queue-consumer:02'),
  oneDevice: 'tool:dev:external-call-runner:01',
  pattern: 'job:dev:nightly-maintenance:*',
  processes: 2,
  paceMs: 20,
}

const threeAgents: Topology = {
  name: '3-agent',
  about: 'an agent whose tools look up, pay and mail',
  plan: 'free',
  replicas: [
    {
      deviceId: 'openai-agent:dev:tool-server:01',
      surfaces: { payments: 'openai-agent:dev:payments:01', email: 'openai-agent:dev:email:01' },
      lanes: [{ gate: 'agent', name: 'accounts-assistant', on: ['payments', 'email'] }],
    },
  ],
  tooMany: consumer('openai-agent:dev:tool-server:02'),
  oneDevice: 'openai-agent:dev:payments:01',
  pattern: 'openai-agent:dev:email:*',
  processes: 1,
  paceMs: 20,
}

const toolLanes: readonly LaneSpec[] = [
  { gate: 'tool', name: 'lookup_invoice' },
  { gate: 'tool', name: 'send_payment', on: ['payments'], effect: 'payment' },
  { gate: 'tool', name: 'send_email', on: ['email'], effect: 'email' },
]

const agentPayments = devices('openai-agent:prod:payments', 4)
const agentEmail = devices('openai-agent:prod:email', 4)
const twentyFiveAgents: Topology = {
  name: '25-agent',
  about: '10 tool servers share 4 payments and 4 email devices; 7 crons',
  plan: 'pro',
  replicas: [
    ...devices('openai-agent:prod:tool-server', 10).map((deviceId, index) => ({
      deviceId,
      surfaces: { payments: shared(agentPayments, index), email: shared(agentEmail, index) },
      lanes: toolLanes,
    })),
    ...devices('openai-agent:prod:cron', 7).map(job),
  ],
  tooMany: consumer('openai-agent:prod:tool-server:11'),
  oneDevice: 'openai-agent:prod:tool-server:03',
  pattern: 'openai-agent:prod:payments:*',
  processes: 2,
  paceMs: 100,
}

const runners = devices('tool:prod:external-call-runner', 8)
const twentyFiveWorkers: Topology = {
  name: '25-worker',
  about: '10 consumers share 8 tool runners and 3 effect executors; 4 schedulers',
  plan: 'pro',
  replicas: [
    ...devices('worker:prod:queue-consumer', 10).map((deviceId, index) => ({
      deviceId,
      surfaces: {
        'external-calls': shared(runners, index),
        email: 'effect:prod:email:01',
        payments: 'effect:prod:payments:01',
        writes: 'effect:prod:writes:01',
      },
      lanes: [
        { gate: 'consumer', name: 'receipts', on: ['email'], effect: 'email' },
        { gate: 'tool', name: 'call_external', on: ['external-calls'] },
        { gate: 'commit', name: 'payouts', on: ['payments'], effect: 'payment' },
        { gate: 'loop', name: 'ledger', on: ['writes'], effect: 'write', fanOut: 2 },
      ] satisfies LaneSpec[],
    })),
    ...devices('job:prod:nightly', 4).map(job),
  ],
  tooMany: consumer('worker:prod:queue-consumer:11'),
  oneDevice: 'worker:prod:queue-consumer:07',
  pattern: 'tool:prod:external-call-runner:*',
  processes: 2,
  paceMs: 150,
}

const TENANTS_EACH = 2
/** `count` tenants, of which each replica serves two. The devices of one tenant share its load. */
function tenantSurfaces(prefix: string, instance: number, tenants: number, shards: number) {
  return Object.fromEntries(
    Array.from({ length: TENANTS_EACH }, (_, nth) => {
      const tenant = `tenant-${String(((instance + nth * 3) % tenants) + 1).padStart(2, '0')}`
      const shard = (Math.floor(instance / tenants) % shards) + 1
      return [tenant, deviceOf(`${prefix}:${tenant}`, shard)]
    }),
  )
}

const payments250 = devices('effect:prod:payments', 5)
const email250 = devices('effect:prod:email', 5)
/** 220 workers, 10 tenants on 2 devices each, 10 effect executors. */
function worker250(instance: number): ReplicaSpec {
  const tenants = tenantSurfaces('worker:prod', instance, 10, 2)
  return {
    deviceId: deviceOf('worker:prod:queue-consumer', instance, 3),
    surfaces: { ...tenants, payments: shared(payments250, instance), email: shared(email250, instance) },
    lanes: [
      { gate: 'consumer', name: 'orders', on: Object.keys(tenants), effect: 'write', fanOut: 2 },
      { gate: 'commit', name: 'payouts', on: ['payments'], effect: 'payment' },
      { gate: 'tool', name: 'send_receipt', on: ['email'], effect: 'email' },
      { gate: 'resume', name: 'reminders' },
    ],
  }
}
const WORKERS_250 = 220

const twoHundredFifty: Topology = {
  name: '250',
  about: '220 workers that scale, 10 tenants on 20 devices, 10 effect executors',
  plan: 'scale',
  replicas: Array.from({ length: WORKERS_250 }, (_, index) => worker250(index + 1)),
  tooMany: worker250(WORKERS_250 + 1),
  oneDevice: deviceOf('worker:prod:queue-consumer', 117, 3),
  pattern: 'worker:prod:tenant-07:*',
  processes: 2,
  paceMs: 2000,
  scaling: { by: 20, replica: worker250 },
}

const payments1000 = devices('openai-agent:prod:payments', 20)
const email1000 = devices('openai-agent:prod:email', 20)
/** 860 tool servers, 20 tenants on 5 devices each, 20 payments, 20 email. Each has the surfaces that its work needs. */
function server1000(instance: number): ReplicaSpec {
  const deviceId = deviceOf('openai-agent:prod:tool-server', instance, 4)
  switch (instance % 3) {
    case 0: {
      const surfaces = tenantSurfaces('openai-agent:prod', instance, 20, 5)
      const name = 'write_record'
      return {
        deviceId,
        surfaces,
        lanes: [{ gate: 'tool', name, on: Object.keys(surfaces), effect: 'write' }],
      }
    }
    case 1:
      return {
        deviceId,
        surfaces: { payments: shared(payments1000, instance), email: shared(email1000, instance) },
        lanes: [
          { gate: 'tool', name: 'send_payment', on: ['payments'], effect: 'payment' },
          { gate: 'loop', name: 'statements', on: ['email'], effect: 'email', fanOut: 2 },
        ],
      }
    default:
      return { deviceId, surfaces: {}, lanes: [{ gate: 'resume', name: 'follow_ups' }] }
  }
}
const SERVERS_1000 = 860

const thousand: Topology = {
  name: '1000',
  about: '860 tool servers that scale, 20 tenants on 100 devices, 20 payments, 20 email',
  plan: 'max',
  replicas: Array.from({ length: SERVERS_1000 }, (_, index) => server1000(index + 1)),
  tooMany: server1000(SERVERS_1000 + 1),
  oneDevice: deviceOf('openai-agent:prod:tool-server', 442, 4),
  pattern: 'openai-agent:prod:tenant-07:*',
  processes: 2,
  paceMs: 3000,
  scaling: { by: 50, replica: server1000 },
}

export const TOPOLOGIES: readonly Topology[] = [
  threeWorkers,
  threeAgents,
  twentyFiveAgents,
  twentyFiveWorkers,
  twoHundredFifty,
  thousand,
]
