import { describe, expect, test } from 'vitest'
import { unanswered } from '../../src/guard/fail-closed.ts'
import { createGuard } from '../../src/guard/guard.ts'
import { EMAIL, PAYMENTS, SERVER, startedGuard, testGuard } from '../fixtures/guard.ts'
import { ScriptedAuthority } from '../fixtures/scripted-authority.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'

describe('startup', () => {
  test('registers every declared device once, server first, then asks for the server device', async () => {
    const { guard, authority } = testGuard()
    const decision = await guard.start()
    expect(decision).toMatchObject({ allowed: true, boundary: 'startup', deviceId: SERVER })
    expect(authority.registered).toEqual([SERVER, PAYMENTS, EMAIL])
    expect(authority.questions.map(({ deviceIds, boundary }) => ({ deviceIds, boundary }))).toEqual([
      { deviceIds: [SERVER], boundary: 'startup' },
    ])
  })

  test('before it, and after its denial, every hold point denies GUARD_NOT_STARTED without asking', async () => {
    const { guard, authority } = testGuard()
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    expect((await guard.check(at)).decision.code).toBe('GUARD_NOT_STARTED')
    authority.stop(SERVER)
    expect(await guard.start()).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED', requestId: 'req-1' })
    expect((await guard.check(at)).decision.code).toBe('GUARD_NOT_STARTED')
    expect(authority.questions).toHaveLength(1)
    authority.restore(SERVER)
    expect((await guard.start()).allowed).toBe(true)
    expect((await guard.check(at)).allowed).toBe(true)
  })

  test('a surface whose registration was refused does not stop it, and its code appears in each later denial', async () => {
    const { guard, authority, lines } = testGuard()
    authority.refuseRegistration(EMAIL, 'DEVICE_LIMIT_REACHED')
    authority.stop(EMAIL, 'DEVICE_NOT_REGISTERED')
    expect((await guard.start()).allowed).toBe(true)
    expect(lines).toContainEqual(
      expect.objectContaining({ device_id: EMAIL, code: 'DEVICE_LIMIT_REACHED', level: 'warn' }),
    )
    const checked = await guard.check({ surface: guard.surface('email'), boundary: 'tool' })
    expect(checked.decision).toMatchObject({ allowed: false, code: 'DEVICE_LIMIT_REACHED', deviceId: EMAIL })
  })

  test('a server device whose registration got no answer denies the start with that code', async () => {
    const { guard, authority } = testGuard()
    authority.registrationAnswers = false
    expect(await guard.start()).toMatchObject({
      allowed: false,
      code: 'AUTHORITY_TIMEOUT',
      requestId: 'local_test',
    })
    expect(authority.questions).toHaveLength(0)
  })
})

describe('surfaces', () => {
  test('a mapped surface asks for its server device and its own at once, server first', async () => {
    const { guard, authority } = await startedGuard()
    await guard.check({ surface: guard.surface('payments'), boundary: 'tool' })
    expect(authority.questions.at(-1)?.deviceIds).toEqual([SERVER, PAYMENTS])
  })

  test('revoking the server device stops every surface, revoking one stops only that one', async () => {
    const { guard, authority } = await startedGuard()
    const allowed = async (name: string) =>
      (await guard.check({ surface: guard.surface(name), boundary: 'tool' })).allowed
    authority.stop(PAYMENTS)
    expect([await allowed('payments'), await allowed('email'), await allowed('tool-server')]).toEqual([
      false,
      true,
      true,
    ])
    authority.restore(PAYMENTS)
    authority.stop(SERVER)
    expect([await allowed('payments'), await allowed('email'), await allowed('tool-server')]).toEqual([
      false,
      false,
      false,
    ])
  })

  test('a surface mapped to tool-server is gated by the server device alone and costs no slot', async () => {
    const { guard, authority } = testGuard({
      surfaces: { payments: 'other:prod:pay:02', records: 'tool-server' },
    })
    await guard.start()
    expect(guard.surface('records').deviceIds).toEqual([SERVER])
    expect(guard.surface('payments').deviceIds).toEqual([SERVER, 'other:prod:pay:02'])
    expect(authority.registered).toEqual([SERVER, 'other:prod:pay:02'])
  })

  test.each([
    [
      'an undeclared surface',
      () => testGuard().guard.surface('refunds'),
      /"refunds" is not declared. Declared: tool-server, payments, email/,
    ],
    [
      'a device ID that holds a key',
      () => testGuard({ surfaces: { pay: 'org_live_abcdefgh' } }),
      /looks like it contains a key/,
    ],
    [
      'a device ID outside the grammar',
      () => testGuard({ serverDeviceId: 'a b' }),
      /MACHINEID_DEVICE_ID: A device ID has 1 to 128/,
    ],
    ['an empty device ID', () => testGuard({ serverDeviceId: '' }), /A device ID is required/],
    [
      'a named surface on a short server ID',
      () => testGuard({ serverDeviceId: 'bot' }),
      /needs a server device ID of the form/,
    ],
    ['a budget of zero', () => testGuard({ timeoutMs: 0 }), /VALIDATE_TIMEOUT_MS.* must be 100 to 3000/],
    ['a budget that is not a number', () => testGuard({ timeoutMs: Number.NaN }), /must be 100 to 3000/],
    [
      'a permit age below the budget',
      () => testGuard({ timeoutMs: 2000, maxAgeMs: 1999 }),
      /maxAgeMs must be at least timeoutMs/,
    ],
  ])('GUARD_MISCONFIGURED when it is made: %s', (_name, make, message) => {
    expect(make).toThrow(
      expect.objectContaining({ code: 'GUARD_MISCONFIGURED', message: expect.stringMatching(message) }),
    )
  })
})

describe('hold points', () => {
  test('G8: one structured line at each boundary, before the body starts, denials at warn', async () => {
    const { guard, authority, lines } = await startedGuard()
    const at = {
      surface: guard.surface('payments'),
      boundary: 'tool',
      tool: 'pay',
      callId: 'call_1',
      runId: 'run_1',
    } as const
    lines.length = 0
    await guard.run(at, () => lines.push({ body: 'started' }))
    authority.stop(PAYMENTS)
    await guard.run(at, () => lines.push({ body: 'started' }))
    const common = {
      device_ids: [SERVER, PAYMENTS],
      boundary: 'tool',
      tool: 'pay',
      call_id: 'call_1',
      run_id: 'run_1',
      latency_ms: 0,
    }
    expect(lines).toEqual([
      expect.objectContaining({
        ...common,
        device_id: SERVER,
        allowed: true,
        code: 'ALLOW',
        request_id: 'req-2',
        level: 'info',
      }),
      { body: 'started' },
      expect.objectContaining({
        ...common,
        device_id: PAYMENTS,
        allowed: false,
        code: 'DEVICE_REVOKED',
        request_id: 'req-3',
        level: 'warn',
      }),
    ])
  })

  test('G2: nothing is kept: every hold point asks again', async () => {
    const { guard, authority } = await startedGuard()
    const at = { surface: guard.surface('payments'), boundary: 'task' } as const
    for (let round = 0; round < 5; round++) await guard.run(at, () => undefined)
    expect(authority.boundaries).toEqual(['startup', 'task', 'task', 'task', 'task', 'task'])
  })

  test('G2: an answer for other devices, or for fewer, is no answer', async () => {
    const { guard, authority, clock } = await startedGuard()
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    const answered = (deviceIds: string[]) => ({
      answered: true as const,
      requestId: 'r',
      orgId: 'o',
      orgEpoch: 1,
      sentAt: clock.now(),
      decisions: deviceIds.map((deviceId) => ({ deviceId, allowed: true as const, epoch: 1 })),
    })
    for (const wrong of [[SERVER], [], [PAYMENTS, SERVER], [SERVER, EMAIL], [SERVER, PAYMENTS, EMAIL]]) {
      authority.next(() => answered(wrong))
      expect((await guard.check(at)).decision.code).toBe('AUTHORITY_WRONG_DEVICE')
    }
  })

  test.each([
    ['an error', new Error('boom')],
    ['a string', 'boom'],
    ['undefined', undefined],
  ])('G4: an authority that throws %s denies, and nothing runs', async (_name, thrown) => {
    const { guard, authority } = await startedGuard()
    let ran = 0
    authority.next(() => {
      throw thrown
    })
    const outcome = await guard.run({ surface: guard.surface('payments'), boundary: 'tool' }, () => ran++)
    expect(outcome).toMatchObject({ allowed: false, decision: { code: 'AUTHORITY_UNREACHABLE' } })
    expect(outcome.decision.requestId).toMatch(/^local_[0-9a-f-]{36}$/)
    expect(ran).toBe(0)
  })

  test('G4: an allow that is not exactly true is a denial', async () => {
    const { guard, authority, clock } = await startedGuard()
    authority.next(({ deviceIds }) => ({
      answered: true,
      requestId: 'r',
      orgId: 'o',
      orgEpoch: 1,
      sentAt: clock.now(),
      decisions: deviceIds.map((deviceId) => ({ deviceId, allowed: 'true' as never, code: 'ODD', epoch: 1 })),
    }))
    const checked = await guard.check({ surface: guard.surface('payments'), boundary: 'tool' })
    expect(checked.decision).toMatchObject({ allowed: false, code: 'ODD' })
  })

  test.each([
    ['nothing', undefined, 'AUTHORITY_BAD_BODY'],
    ['an answer without decisions', { answered: true, requestId: 'r' }, 'AUTHORITY_BAD_BODY'],
    [
      'empty decisions',
      { answered: true, requestId: 'r', decisions: [null, null] },
      'AUTHORITY_WRONG_DEVICE',
    ],
    ['a truthy answered', { answered: 1, decisions: [] }, 'AUTHORITY_BAD_BODY'],
  ])('G4: an authority that gives %s has not answered', async (_name, answer, code) => {
    const { guard, authority } = await startedGuard()
    authority.next(() => answer as never)
    const checked = await guard.check({ surface: guard.surface('payments'), boundary: 'tool' })
    expect(checked.decision).toMatchObject({ allowed: false, code })
  })

  test('a question that its caller broke off says nothing about the authority to health checks; a timeout does', async () => {
    const { guard, authority } = await startedGuard()
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    authority.next(() => unanswered('CALL_ABORTED', undefined))
    await guard.check(at)
    expect(guard.lastAnswer).toMatchObject({ answered: true })
    authority.next(() => unanswered('AUTHORITY_TIMEOUT', undefined))
    await guard.check(at)
    expect(guard.lastAnswer).toMatchObject({ answered: false, code: 'AUTHORITY_TIMEOUT' })
  })

  test('more questions at once than allowed: the others are denied GUARD_OVERLOADED without waiting', async () => {
    const { guard, authority } = await startedGuard({ maxPendingQuestions: 2 })
    const gate = Promise.withResolvers<void>()
    authority.beforeAnswer = () => gate.promise
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    const waiting = [guard.check(at), guard.check(at)]
    expect((await guard.check(at)).decision.code).toBe('GUARD_OVERLOADED')
    gate.resolve()
    expect((await Promise.all(waiting)).map((checked) => checked.allowed)).toEqual([true, true])
    expect((await guard.check(at)).allowed).toBe(true)
  })

  test('the server device denied later is told to onServerDenied; a denied surface or an unreachable authority is not', async () => {
    const told: string[] = []
    const { guard, authority } = await startedGuard({ onServerDenied: (denied) => told.push(denied.code) })
    const at = { surface: guard.surface('payments'), boundary: 'tool' } as const
    authority.stop(PAYMENTS)
    await guard.check(at)
    authority.next(() => Promise.reject(new Error('gone')))
    await guard.check(at)
    expect(told).toEqual([])
    authority.stop(SERVER, 'ORG_DISABLED')
    await guard.check(at)
    expect(told).toEqual(['ORG_DISABLED'])
  })
})

test('nothing is asked and nothing is opened until start', () => {
  const authority = new ScriptedAuthority()
  createGuard({ journal: createMemoryJournal(), authority, serverDeviceId: SERVER })
  expect(authority.questions).toEqual([])
  expect(authority.registered).toEqual([])
})
