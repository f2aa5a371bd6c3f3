import { describe, expect, test, vi } from 'vitest'
import type { ActiveCall } from '../../src/guard/call.ts'
import { defineEffect } from '../../src/guard/effect.ts'
import { EMAIL, PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'

async function made() {
  const started = await startedGuard()
  const { guard } = started
  const request = { surface: guard.surface('payments'), tool: 'batch', callId: 'call_1' } as const
  return { ...started, request, email: guard.surface('email') }
}

describe('a part of a call behind a hold point of its own', () => {
  test('asks anew, on its own surface, and gives what the part gave', async () => {
    const { guard, authority, request, email } = await made()
    const outcome = await guard.call(request, async (call) => [
      await call.enter('rows', () => 'own'),
      await call.enter('mails', () => 'other', email),
    ])
    expect(outcome).toMatchObject({ ok: true, value: ['own', 'other'] })
    expect(authority.questions.slice(1).map(({ boundary, deviceIds }) => [boundary, deviceIds])).toEqual([
      ['tool', [SERVER, PAYMENTS]],
      ['task', [SERVER, PAYMENTS]],
      ['task', [SERVER, EMAIL]],
    ])
  })

  test('G1: stopped meanwhile, the part does not start, and C5: the call is refused whatever the body makes of it', async () => {
    const { guard, authority, request } = await made()
    const part = vi.fn()
    const later = vi.fn()
    const outcome = await guard.call(request, async (call) => {
      authority.stop(PAYMENTS)
      await call.enter('rows', part).catch(() => 'swallowed')
      authority.restore(PAYMENTS)
      await call.enter('more', later).catch(() => 'swallowed')
      return 'all is well'
    })
    expect(part).not.toHaveBeenCalled()
    expect(later).not.toHaveBeenCalled()
    expect(authority.boundaries).toEqual(['startup', 'tool', 'task'])
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'DEVICE_REVOKED', boundary: 'task' } })
  })

  test('a part refused refuses the effects after it, and an effect refused the parts after it', async () => {
    const { guard, authority, request } = await made()
    const run = vi.fn()
    const write = defineEffect({ kind: 'write', name: 'write', key: 'each-call', run })
    await guard.call(request, async (call) => {
      authority.stop(PAYMENTS)
      await call.enter('rows', run).catch(() => undefined)
      authority.restore(PAYMENTS)
      await call.commit(write, {}).catch(() => undefined)
    })
    await guard.call({ ...request, callId: 'call_2' }, async (call) => {
      authority.stop(PAYMENTS)
      await call.commit(write, {}).catch(() => undefined)
      authority.restore(PAYMENTS)
      await call.enter('rows', run).catch(() => undefined)
    })
    expect(run).not.toHaveBeenCalled()
  })

  test('C6: after the body has ended nothing is asked and nothing starts', async () => {
    const { guard, authority, request } = await made()
    let kept: ActiveCall | undefined
    await guard.call(request, (call) => void (kept = call))
    const asked = authority.questions.length
    const part = vi.fn()
    await expect(kept?.enter('rows', part)).rejects.toMatchObject({ code: 'LATE_COMMIT' })
    expect(part).not.toHaveBeenCalled()
    expect(authority.questions).toHaveLength(asked)
  })

  test('C6: allowed only after the body has ended, it does not start, and the call says so', async () => {
    const { guard, authority, request } = await made()
    const gate = Promise.withResolvers<void>()
    authority.beforeAnswer = (question) => (question.boundary === 'task' ? gate.promise : undefined)
    const part = vi.fn()
    const outcome = guard.call(request, (call) => {
      void call.enter('rows', part)
      return 'done'
    })
    setImmediate(gate.resolve)
    expect(await outcome).toMatchObject({ ok: false, refusal: { code: 'LATE_COMMIT' } })
    expect(part).not.toHaveBeenCalled()
  })

  test('a part that runs is awaited before the call ends, and counts as in flight', async () => {
    const { guard, request } = await made()
    const begun = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    const outcome = guard.call(request, (call) => {
      void call.enter('rows', async () => {
        begun.resolve()
        await end.promise
      })
      return begun.promise
    })
    await begun.promise
    await Promise.resolve()
    expect(guard.inFlight).toBe(2)
    end.resolve()
    expect(await outcome).toMatchObject({ ok: true })
    expect(guard.inFlight).toBe(0)
  })

  test('G1: in a call that a pushed stop has aborted none starts, on no surface', async () => {
    const { guard, authority, request, email } = await made()
    const part = vi.fn()
    const outcome = await guard.call(request, (call) => {
      authority.stopNow(PAYMENTS)
      return call.enter('mails', part, email)
    })
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'CALL_ABORTED' } })
    expect(part).not.toHaveBeenCalled()
  })

  test('a stop pushed for its own surface aborts it', async () => {
    const { guard, authority, request, email } = await made()
    const outcome = await guard.call(request, (call) =>
      call.enter(
        'mails',
        ({ signal }) => {
          authority.stopNow(EMAIL)
          return signal.aborted
        },
        email,
      ),
    )
    expect(outcome).toMatchObject({ ok: true, value: true })
  })
})

describe('what a body threw', () => {
  test('is handed to the program, and shown to nobody else', async () => {
    const { guard, request } = await made()
    const thrown = new Error('the password is hunter2')
    const outcome = await guard.call(request, () => {
      throw thrown
    })
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'TOOL_FAILED' }, thrown })
    expect(JSON.stringify(outcome.ok ? undefined : outcome.refusal)).not.toContain('hunter2')
  })

  test('is left out where a refusal came first', async () => {
    const { guard, authority, request } = await made()
    const outcome = await guard.call(request, async (call) => {
      authority.stop(PAYMENTS)
      await call.enter('rows', () => undefined).catch(() => undefined)
      throw new Error('something else')
    })
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'DEVICE_REVOKED' } })
    expect('thrown' in outcome).toBe(false)
  })
})
