import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import type { TopologyResult } from '../../demo/fleet/result.ts'
import { TOPOLOGIES } from '../../demo/fleet/topologies.ts'
import { devicesOf } from '../../demo/fleet/topology.ts'
import { PLAN_LIMITS } from '../../src/machineid/wire.ts'

const FLEET = join(import.meta.dirname, '../../demo/fleet.ts')

async function runFleet(...args: readonly string[]) {
  const child = spawn(process.execPath, ['--conditions=holdpoint-source', FLEET, ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [status] = (await once(child, 'close')) as [number]
  return { status, output }
}

interface FleetReport {
  readonly ok: boolean
  readonly topologies: readonly TopologyResult[]
}

test('every topology fits the cap of its plan exactly, and one replica more does not', () => {
  for (const { name, plan, replicas, tooMany } of TOPOLOGIES) {
    const all = devicesOf(replicas)
    expect([name, all.length]).toEqual([name, PLAN_LIMITS[plan]])
    expect(all).not.toContain(tooMany.deviceId)
  }
})

test('the small topologies have the very device IDs of the documents', () => {
  const range = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${prefix}:${String(index + 1).padStart(2, '0')}`)
  const idsOf = (name: string) =>
    devicesOf(TOPOLOGIES.find((one) => one.name === name)?.replicas ?? []).toSorted()
  expect(idsOf('3-worker')).toEqual([
    'job:dev:nightly-maintenance:01',
    'tool:dev:external-call-runner:01',
    'worker:dev:queue-consumer:01',
  ])
  expect(idsOf('3-agent')).toEqual([
    'openai-agent:dev:email:01',
    'openai-agent:dev:payments:01',
    'openai-agent:dev:tool-server:01',
  ])
  expect(idsOf('25-agent')).toEqual([
    ...range('openai-agent:prod:cron', 7),
    ...range('openai-agent:prod:email', 4),
    ...range('openai-agent:prod:payments', 4),
    ...range('openai-agent:prod:tool-server', 10),
  ])
  expect(idsOf('25-worker')).toEqual([
    'effect:prod:email:01',
    'effect:prod:payments:01',
    'effect:prod:writes:01',
    ...range('job:prod:nightly', 4),
    ...range('tool:prod:external-call-runner', 8),
    ...range('worker:prod:queue-consumer', 10),
  ])
})

test(
  'npm run fleet: one device, one surface, everything; what is stopped stops and the others go on (G1)',
  { timeout: 90_000 },
  async () => {
    const small = ['3-worker', '3-agent', '25-agent', '25-worker']
    const { status, output } = await runFleet('--json', ...small.map((name) => `--only=${name}`))
    const { ok, topologies } = JSON.parse(output) as FleetReport
    const failed = topologies.flatMap(({ topology, checks, stops }) =>
      [...checks, ...stops].filter((one) => !one.ok).map((one) => ({ topology, ...one })),
    )
    expect({ status, ok, failed }).toEqual({ status: 0, ok: true, failed: [] })
    expect(topologies.map(({ topology }) => topology)).toEqual(small)
    for (const { stops, limit } of topologies) {
      expect(stops.map(({ action }) => action)).toEqual(['device.revoke', 'lock.add', 'org.disable'])
      expect(stops.map(({ devices }) => devices)).toEqual([1, expect.any(Number), limit])
      for (const { denied, stopped, startsAfterAck, startsAfterTold, back } of stops)
        expect({ denied, startsAfterAck, startsAfterTold, back }).toEqual({
          denied: stopped,
          startsAfterAck: 0,
          startsAfterTold: 0,
          back: stopped,
        })
    }
  },
)

test(
  'work that somebody forgot to guard starts after the ack, and fails the report',
  { timeout: 60_000 },
  async () => {
    const { status, output } = await runFleet('--json', '--only=3-worker', '--forget')
    const { ok, topologies } = JSON.parse(output) as FleetReport
    expect({ status, ok }).toEqual({ status: 1, ok: false })
    const late = topologies.flatMap(({ stops }) => stops).map((stop) => stop.startsAfterAck > 0 && !stop.ok)
    expect(late).toEqual([true, true, true])
  },
)
