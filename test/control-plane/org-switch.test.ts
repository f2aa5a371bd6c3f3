import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { ListResponse, PATHS, UsageResponse } from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICES = ['a:test:x:1', 'a:test:x:2', 'a:test:x:3'] as const

const codes = async (authority: TestControlPlane) => {
  const body = { deviceIds: DEVICES, nonce: 'n'.repeat(22) }
  const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
  return (answer.body.decisions as { code: string }[]).map(({ code }) => code)
}

describe('disabling an org', () => {
  test('denies every device, registered or not, and leaves the states of all as they were', async () => {
    await using authority = await startTestControlPlane()
    const { keys, get, post } = authority
    for (const deviceId of DEVICES) await authority.register(deviceId)
    await authority.revoke(DEVICES[1])
    const list = async () => ListResponse.parse((await get(PATHS.list, keys.viewer)).body).devices
    const before = await list()

    const disabled = await post(PATHS.orgDisable, { reason: 'incident 7' }, keys.stop)
    expect(await codes(authority)).toEqual(['ORG_DISABLED', 'ORG_DISABLED', 'ORG_DISABLED'])
    const unknown = await post(PATHS.validate, { deviceId: 'a:test:x:9' }, keys.runtime)
    expect(unknown.body).toMatchObject({ allowed: false, code: 'ORG_DISABLED' })
    expect(await list()).toEqual(before)
    const { org } = UsageResponse.parse((await get(PATHS.usage, keys.viewer)).body)
    expect(org).toMatchObject({ disabled: true, epoch: disabled.body.epoch, reason: 'incident 7' })
    expect(keys.stop).toContain(`_${org.by}_`)
    expect(Date.parse(org.since ?? '')).toBeGreaterThan(Date.now() - 60_000)

    const enabled = await post(PATHS.orgEnable, { ifEpoch: disabled.body.epoch }, keys.admin)
    expect(enabled.status).toBe(200)
    expect(await codes(authority)).toEqual(['ALLOW', 'DEVICE_REVOKED', 'ALLOW'])
    expect(await list()).toEqual(before)
  })

  test('G1: takes hold of the next question, over connections that were open before', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(DEVICES[0])
    for (let round = 0; round < 20; round++) {
      const epoch = await authority.revoke(DEVICES[0])
      expect((await codes(authority))[0]).toBe('DEVICE_REVOKED')
      await authority.post(PATHS.unrevoke, { deviceId: DEVICES[0], ifEpoch: epoch }, authority.keys.operator)
      expect((await codes(authority))[0]).toBe('ALLOW')
    }
  })
})

// A history of stops, with restores and registers that were rendered at one moment and arrive at another, in any
// order and any number of times. fast-check prints the seed of one that fails.
type Step =
  | { readonly do: 'stop'; readonly how: 'revoke' | 'remove' | 'disable'; readonly device: number }
  | {
      readonly do: 'render'
      readonly form: 'unrevoke' | 'return' | 'enable' | 'register'
      readonly device: number
    }
  | { readonly do: 'deliver'; readonly pick: number }

const device = fc.nat(DEVICES.length - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('stop' as const),
    how: fc.constantFrom('revoke', 'remove', 'disable'),
    device,
  }),
  fc.record({
    do: fc.constant('render' as const),
    form: fc.constantFrom('unrevoke', 'return', 'enable', 'register'),
    device,
  }),
  fc.record({ do: fc.constant('deliver' as const), pick: fc.nat(1000) }),
)

interface Form {
  readonly path: string
  readonly body: Record<string, unknown>
  readonly kind: 'admin' | 'runtime'
  readonly on: string
  readonly renderedAt: number
}

test('G6: whatever was sent before a stop was acked can never undo it', { timeout: 60_000 }, async () => {
  await using authority = await startTestControlPlane()
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const ids = DEVICES.map((name) => `${name}:${runs}`)
      runs++
      const { orgId, keys } = await authority.service.createOrg({ kinds: ['admin', 'runtime'] })
      const send = (path: string, body: object, kind: 'admin' | 'runtime') =>
        authority.post(path, body, keys[kind])
      const epochs = new Map<string, number>()
      const stoppedAt = new Map<string, number>()
      const forms: Form[] = []
      for (const deviceId of ids) await send(PATHS.register, { deviceId }, 'runtime')

      const stop = async (how: 'revoke' | 'remove' | 'disable', deviceId: string, at: number) => {
        const path = { revoke: PATHS.revoke, remove: PATHS.remove, disable: PATHS.orgDisable }[how]
        const { status, body } = await send(path, how === 'disable' ? {} : { deviceId }, 'admin')
        expect(status).toBe(200)
        const on = how === 'disable' ? orgId : deviceId
        epochs.set(on, body.epoch)
        stoppedAt.set(on, at)
      }
      const render = (form: 'unrevoke' | 'return' | 'enable' | 'register', deviceId: string, at: number) => {
        const on = form === 'enable' ? orgId : deviceId
        const ifEpoch = epochs.get(on) ?? 0
        const rendered = { on, renderedAt: at, kind: 'admin' as const }
        if (form === 'register')
          forms.push({ ...rendered, kind: 'runtime', path: PATHS.register, body: { deviceId } })
        if (form === 'enable') forms.push({ ...rendered, path: PATHS.orgEnable, body: { ifEpoch } })
        if (form === 'unrevoke')
          forms.push({ ...rendered, path: PATHS.unrevoke, body: { deviceId, ifEpoch } })
        const body = { deviceId, restoreRemoved: true, ifEpoch }
        if (form === 'return') forms.push({ ...rendered, path: PATHS.register, body })
      }
      const deliver = async ({ path, body, kind, on, renderedAt }: Form) => {
        const before = await send(PATHS.validateBatch, { deviceIds: ids, nonce: 'n'.repeat(22) }, 'runtime')
        const answer = await send(path, body, kind)
        const after = await send(PATHS.validateBatch, { deviceIds: ids, nonce: 'n'.repeat(22) }, 'runtime')
        if (answer.body.orgEpoch > before.body.orgEpoch && answer.status === 200)
          epochs.set(on, answer.body.epoch)
        if (renderedAt > (stoppedAt.get(on) ?? -1)) return
        // Sent before the ack: nothing that was denied may be allowed now, and no epoch may have moved.
        expect(after.body.decisions).toEqual(before.body.decisions)
        expect(after.body.orgEpoch).toBe(before.body.orgEpoch)
      }

      for (const [at, now] of steps.entries()) {
        if (now.do === 'stop') await stop(now.how, ids[now.device] ?? '', at)
        else if (now.do === 'render') render(now.form, ids[now.device] ?? '', at)
        else {
          const form = forms[now.pick % Math.max(1, forms.length)]
          if (form !== undefined) await deliver(form)
        }
      }
      // The last word is a stop of everything; then every form there ever was arrives once more.
      for (const deviceId of ids) await stop('revoke', deviceId, steps.length)
      for (const form of forms.filter(({ on }) => on !== orgId)) await deliver({ ...form, renderedAt: -1 })
      const { body } = await send(PATHS.validateBatch, { deviceIds: ids, nonce: 'n'.repeat(22) }, 'runtime')
      for (const decision of body.decisions as { allowed: boolean }[]) expect(decision.allowed).toBe(false)
    }),
    { numRuns: 40 },
  )
})
