import { describe, expect, test, vi } from 'vitest'
import type { GuardEvent } from '../../src/guard/events.ts'
import { defineEffect } from '../../src/guard/effect.ts'
import { PAYMENTS, startedGuard, testGuard } from '../fixtures/guard.ts'

function listening(guard: { subscribe: (listener: (event: GuardEvent) => void) => () => void }) {
  const heard: string[] = []
  const end = guard.subscribe((event) => {
    heard.push(event.kind === 'decision' ? event.decision.code : `${event.kind} ${event.effect}`)
  })
  return { heard, end }
}

describe('what a guard tells', () => {
  test('each decision, startup and denials made here included', async () => {
    const { guard, authority } = testGuard()
    const { heard } = listening(guard)
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    await guard.check(at)
    await guard.start()
    authority.stop(PAYMENTS)
    await guard.check(at)
    await guard.close()
    await guard.check(at)
    expect(heard).toEqual(['GUARD_NOT_STARTED', 'ALLOW', 'DEVICE_REVOKED', 'GUARD_SHUTTING_DOWN'])
  })

  test('each time somebody comes upon an effect of which nobody knows whether it happened', async () => {
    const { guard } = await startedGuard()
    const { heard } = listening(guard)
    const charge = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: () => 'INV-1',
      run: () => {
        throw new Error('socket hang up')
      },
    })
    const request = { surface: guard.surface('payments'), tool: 'pay' }
    await guard.call(request, (call) => call.commit(charge, {}))
    await guard.call(request, (call) => call.commit(charge, {}))
    expect(heard.filter((one) => one.startsWith('outcome'))).toEqual([
      'outcome_unknown charge',
      'outcome_unknown charge',
    ])
  })

  test('who rejects later changes nothing either, and does not end the process', async () => {
    const { guard, lines } = await startedGuard()
    const unhandled = vi.fn()
    process.once('unhandledRejection', unhandled)
    // What the types take, although they ask for no promise.
    const rejecting: () => unknown = () => Promise.reject(new Error('mine'))
    guard.subscribe(rejecting)
    await guard.check({ surface: guard.surface('payments'), boundary: 'tool' })
    await new Promise(setImmediate)
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'a listener of the guard threw', err: 'mine' }),
    )
  })

  test('nothing any more to who has ended it; and who throws changes nothing', async () => {
    const { guard } = await startedGuard()
    const { heard, end } = listening(guard)
    guard.subscribe(() => {
      throw new Error('mine')
    })
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    const ran = await guard.run(at, () => 'ran')
    end()
    await guard.check(at)
    expect(ran).toMatchObject({ allowed: true, value: 'ran' })
    expect(heard).toEqual(['ALLOW'])
  })
})

describe('a surface chosen from what is asked for', () => {
  test('is one of those named, or none', async () => {
    const { guard } = await startedGuard()
    const choice = guard.surfaceBy(['payments', 'email'], (input: { to: string }) => input.to)
    expect(choice.choose({ to: 'email' })).toBe(guard.surface('email'))
    expect(choice.choose({ to: 'tool-server' })).toBeUndefined()
    expect(choice.choose({ to: '__proto__' })).toBeUndefined()
    expect(choice.choose(undefined as never)).toBeUndefined()
    expect(choice.surfaces.map(({ name }) => name)).toEqual(['payments', 'email'])
  })

  test('a name that was not declared is GUARD_MISCONFIGURED when the choice is made', async () => {
    const { guard } = await startedGuard()
    expect(() => guard.surfaceBy(['payments', 'nowhere'], () => 'payments')).toThrow(/nowhere/)
  })
})
