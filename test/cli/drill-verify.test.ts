import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { DrillReportBody } from '../../src/machineid/wire-drills.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { CANARY, drillReport } from '../fixtures/drill-report.ts'
import { run } from './run.ts'

// Whoever holds an operator's key can have any report signed. What the control plane's own audit does not bear out is
// no proof, whatever the signature says.

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
  await authority.register(CANARY)
})
afterAll(() => authority.close())

type Step = DrillReportBody['steps'][number]

let stored = 0
/** Has these steps signed, and verifies what came back. */
async function verify(...steps: readonly Partial<Step>[]) {
  const drillId = `d-${++stored}`
  const [first] = drillReport(authority.orgId, drillId).steps
  const report = drillReport(authority.orgId, drillId, {
    held: steps.every(({ held }) => held !== false),
    steps: steps.map((step) => ({ ...(first as Step), measures: [], ...step })),
  })
  const { status, body } = await authority.post(PATHS.drills, { report }, authority.keys.operator)
  expect(status).toBe(200)
  const file = join(authority.dir, `${drillId}.json`)
  writeFileSync(file, JSON.stringify(body.drill))
  return run(['drill', 'verify', file], { authority })
}

describe('drill verify', () => {
  test('a stop and a restore that the audit has are verified', async () => {
    const epoch = await authority.revoke(CANARY)
    const { status, stderr, stdout } = await verify(
      { name: 'stop', epoch },
      { name: 'restore', epoch: await authority.restore(CANARY) },
    )
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain('found a row of each of the 2 stops and restores')
  })

  test.each(['stop', 'disable_org'] as const)(
    'a %s that held, and of which the report names no epoch, did not happen',
    async (name) => {
      const { status, stderr } = await verify({ name, epoch: null })
      expect(status).toBe(3)
      expect(stderr).toContain(`Its step ${name} says that it held, and names no epoch.`)
    },
  )

  test('nor did one whose epoch the audit does not have', async () => {
    const { status, stderr } = await verify({ name: 'stop', epoch: 4711 })
    expect(status).toBe(3)
    expect(stderr).toContain('had no row of epoch 4711')
  })

  test('nor one whose epoch is that of something else', async () => {
    await authority.revoke(CANARY)
    const restored = await authority.restore(CANARY)
    const { status, stderr } = await verify({ name: 'stop', epoch: restored })
    expect(status).toBe(3)
    expect(stderr).toContain(`Its step stop has epoch ${restored}, which is that of device.unrevoke.`)
  })

  test('one that did not hold need have no epoch', async () => {
    expect((await verify({ name: 'stop', epoch: null, held: false, note: 'no answer' })).status).toBe(0)
  })
})
