import { join } from 'node:path'

import { plantDevices } from '../control-plane/plant.ts'
import type { ConsoleWorld } from '../fixtures/console-world.ts'

const SERVICES = ['billing', 'crm', 'search', 'openai-agent']
const ENVS = ['prod', 'staging', 'dev', 'test']
const SURFACES = ['payments', 'email', 'records', 'web', 'canary']

/** Gives the world `count` devices of several services, environments and surfaces, all at once. */
export async function plantFleet(world: ConsoleWorld, count: number): Promise<void> {
  const of = (names: readonly string[], n: number) => names[n % names.length] ?? ''
  const ids = Array.from({ length: count }, (_, n) => {
    const [service, env, surface] = [
      of(SERVICES, n),
      of(ENVS, Math.floor(n / 4)),
      of(SURFACES, Math.floor(n / 16)),
    ]
    return `${service}:${env}:${surface}:${String(n).padStart(5, '0')}`
  })
  await world.killControlPlane()
  await plantDevices(join(world.dataDir, 'control-plane.db'), world.secrets.orgId, ids, { team: 'payments' })
  await world.reviveControlPlane()
}
