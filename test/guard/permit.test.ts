import { describe, expect, test } from 'vitest'
import type { Permit } from '../../src/guard/permit.ts'
import { startedGuard, type TestGuard } from '../fixtures/guard.ts'

async function permitOf({ guard }: TestGuard, signal?: AbortSignal): Promise<Permit> {
  const checked = await guard.check({ surface: guard.surface('payments'), boundary: 'tool', signal })
  if (!checked.allowed) throw new Error(checked.decision.code)
  return checked.permit
}

/** What starting gives: the body's value, or the code of the denial. */
function start(permit: Permit): string {
  const started = permit.start(() => 'ran')
  return started.started ? started.value : started.denied.code
}

describe('G2: one allow starts at most one body', () => {
  test('the second start is PERMIT_REUSED', async () => {
    const permit = await permitOf(await startedGuard())
    expect([start(permit), start(permit), start(permit)]).toEqual(['ran', 'PERMIT_REUSED', 'PERMIT_REUSED'])
  })

  test('a body that threw has used it all the same', async () => {
    const permit = await permitOf(await startedGuard())
    expect(() =>
      permit.start(() => {
        throw new Error('body')
      }),
    ).toThrow('body')
    expect(start(permit)).toBe('PERMIT_REUSED')
  })
})

describe('G3: a body starts at most maxAgeMs after its question was sent', () => {
  test('at maxAgeMs it starts, one millisecond later it does not', async () => {
    const made = await startedGuard({ timeoutMs: 2000 })
    const [inTime, late] = [await permitOf(made), await permitOf(made)]
    made.clock.advance(2000)
    expect(start(inTime)).toBe('ran')
    made.clock.advance(1)
    expect(start(late)).toBe('PERMIT_EXPIRED')
  })

  test('age counts from the question, not from the answer', async () => {
    const made = await startedGuard({ timeoutMs: 2000 })
    made.authority.beforeAnswer = () => made.clock.advance(1500)
    const permit = await permitOf(made)
    made.clock.advance(501)
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })

  test('a machine that was suspended, so that only the wall clock moved: PERMIT_EXPIRED', async () => {
    const made = await startedGuard()
    const permit = await permitOf(made)
    made.clock.advanceWall(60_000)
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })

  test('a wall clock that was set back: PERMIT_EXPIRED', async () => {
    const made = await startedGuard()
    const permit = await permitOf(made)
    made.clock.advanceWall(-1)
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })

  test('maxAgeMs may be longer than the budget', async () => {
    const made = await startedGuard({ timeoutMs: 500, maxAgeMs: 5000 })
    const permit = await permitOf(made)
    made.clock.advance(5000)
    expect(start(permit)).toBe('ran')
  })
})

describe('what happened between answer and start', () => {
  test('the caller gave up: CALL_ABORTED', async () => {
    const caller = new AbortController()
    const permit = await permitOf(await startedGuard(), caller.signal)
    caller.abort()
    expect(start(permit)).toBe('CALL_ABORTED')
  })

  test('the guard is shutting down: GUARD_SHUTTING_DOWN', async () => {
    const made = await startedGuard()
    const permit = await permitOf(made)
    await made.guard.close({ graceMs: 0 })
    expect(start(permit)).toBe('GUARD_SHUTTING_DOWN')
  })

  test('its denial is logged under the request that allowed', async () => {
    const made = await startedGuard()
    const permit = await permitOf(made)
    made.clock.advance(10_000)
    start(permit)
    expect(made.lines.at(-1)).toMatchObject({
      code: 'PERMIT_EXPIRED',
      allowed: false,
      request_id: permit.decision.requestId,
    })
  })
})
