import { expect, test } from 'vitest'

import type { Clock } from '../../src/clock.ts'
import { startTestRecovery } from '../fixtures/recovery.ts'
import { dump } from './dump.ts'

const MINUTE = 60_000
const DAY = 86_400_000

test('recovery links go a day after they expired, used or not; one that works stays', async () => {
  const clock: Clock & { wallMs: number } = {
    wallMs: Date.parse('2026-03-01T12:00:00Z'),
    now: () => ({ monotonicMs: clock.wallMs, wallMs: clock.wallMs }),
  }
  await using recovery = await startTestRecovery({ clock })
  const { housekeeping } = recovery.authority.controlPlane
  await housekeeping.close()
  const links = () => dump(recovery.authority.file)['recovery_links']?.length
  const used = await recovery.newToken()
  expect((await recovery.confirm(used)).status).toBe(200)
  await recovery.newToken()
  clock.wallMs += 15 * MINUTE + DAY
  const fresh = await recovery.newToken()
  await housekeeping.tick()
  expect(links()).toBe(3)
  clock.wallMs += 1
  await housekeeping.tick()
  expect(links()).toBe(1)
  expect((await recovery.confirm(used)).body.code).toBe('RECOVERY_LINK_INVALID')
  expect((await recovery.confirm(fresh)).status).toBe(200)
})
