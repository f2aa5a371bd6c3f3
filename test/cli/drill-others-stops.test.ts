import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { createHttp } from '../../src/cli/http.ts'
import { createOperatorClient } from '../../src/cli/operator-client.ts'
import { deviceStop, orgStop } from '../../src/cli/drill/stops.ts'
import { createStopped } from '../../src/cli/drill/undo.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startRelay } from './relay.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'

// A drill looks before it stops. What somebody else stops between that look and the drill's own stop, which raises the
// epoch again, is not the drill's to restore (G6).

const PAYMENTS = 'openai-agent:prod:payments:01'
const EMAIL = 'openai-agent:prod:email:01'
const http = createHttp({ caPem: undefined, signal: new AbortController().signal })

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestLanes()
  for (const id of [PAYMENTS, EMAIL]) await authority.register(id)
})
afterAll(async () => {
  await http.close()
  await authority.close()
})

const operator = (kind: 'operator' | 'admin', url = authority.operatorUrl) =>
  createOperatorClient(http, url, {
    secret: authority.keys[kind],
    kind,
    from: 'a test',
    isPlatform: false,
  })
const codeOf = async (deviceId: string) =>
  (await authority.post(PATHS.validate, { deviceId }, authority.keys.runtime)).body.code
/** Somebody else makes a stop once the drill has looked. */
const onFirst = (looked: string, stop: string, body: object) => {
  let isFirst = true
  return async (asked: string) => {
    if (!isFirst || !asked.includes(looked)) return
    isFirst = false
    await authority.post(stop, body, authority.keys.stop)
  }
}
const enable = async () => {
  const { org } = (await authority.get(PATHS.usage, authority.keys.viewer)).body
  await authority.post(PATHS.orgEnable, { ifEpoch: org.epoch }, authority.keys.admin)
}
const newStopped = () => createStopped({ nowMs: () => performance.now() })

describe('a stop that somebody else made right before that of the drill', () => {
  test('of one of its devices: that one stays stopped, the other is restored', async () => {
    const stop = { deviceId: PAYMENTS, reason: 'double payments' }
    await using relay = await startRelay(authority.operatorUrl, onFirst(PATHS.list, PATHS.revoke, stop))
    const stopped = newStopped()
    const drill = deviceStop(operator('operator', relay.url), [PAYMENTS, EMAIL], 'drill d1')
    await stopped.stop(drill)
    const { leftStopped } = await stopped.restore(drill)

    expect(leftStopped).toContain(`${PAYMENTS} was stopped by somebody else`)
    expect(leftStopped).toContain('double payments')
    expect([await codeOf(PAYMENTS), await codeOf(EMAIL)]).toEqual(['DEVICE_REVOKED', 'ALLOW'])
    await authority.restore(PAYMENTS)
  })

  test('of the org: it stays disabled', async () => {
    await using relay = await startRelay(
      authority.operatorUrl,
      onFirst(PATHS.usage, PATHS.orgDisable, { reason: 'panic' }),
    )
    const stopped = newStopped()
    const drill = orgStop(operator('admin', relay.url), 'drill d2')
    await stopped.stop(drill)
    const { leftStopped } = await stopped.restore(drill)

    expect(leftStopped).toContain('the org was stopped by somebody else')
    expect(leftStopped).toContain('panic')
    expect(await codeOf(EMAIL)).toBe('ORG_DISABLED')
    await enable()
  })

  test('seen in time, nothing is stopped on top of it', async () => {
    await authority.revoke(EMAIL)
    await authority.post(PATHS.orgDisable, { reason: 'panic' }, authority.keys.stop)
    const stopped = newStopped()
    const drills = [
      deviceStop(operator('operator'), [PAYMENTS, EMAIL], 'drill d4'),
      orgStop(operator('admin'), 'drill d4'),
    ]
    for (const drill of drills) await expect(stopped.stop(drill)).rejects.toThrow('stopped by somebody else')
    expect(await stopped.restoreAll()).toEqual([])
    expect(await codeOf(PAYMENTS)).toBe('ORG_DISABLED')
    await enable()
    expect([await codeOf(PAYMENTS), await codeOf(EMAIL)]).toEqual(['ALLOW', 'DEVICE_REVOKED'])
    await authority.restore(EMAIL)
  })

  test('where nobody else has stopped it, it is restored', async () => {
    const stopped = newStopped()
    for (const drill of [
      deviceStop(operator('operator'), [PAYMENTS, EMAIL], 'drill d3'),
      orgStop(operator('admin'), 'drill d3'),
    ]) {
      await stopped.stop(drill)
      expect((await stopped.restore(drill)).leftStopped).toBeUndefined()
      expect(await codeOf(PAYMENTS)).toBe('ALLOW')
    }
  })
})
