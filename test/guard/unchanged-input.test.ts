// G1: the surface of an effect is chosen from its input, and a person approves it. What runs must be that input.
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { defineEffect, type EffectOptions } from '../../src/guard/effect.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { startedGuard } from '../fixtures/guard.ts'

const TENANTS = { 'tenant-a': 'openai-agent:test:tenant:a:01', 'tenant-b': 'openai-agent:test:tenant:b:01' }

type Input = { tenant: string }
const toB = (input: Input) => Object.assign(input, { tenant: 'b' }).tenant

/** A mail on the surface of its tenant, where tenant b is stopped. */
async function mailer<I = Input>(options: Partial<EffectOptions<I, unknown>>) {
  const journal = createMemoryJournal()
  const made = await startedGuard({ surfaces: TENANTS, journal })
  made.authority.stop(TENANTS['tenant-b'])
  const run = vi.fn()
  const mail = defineEffect<I, unknown>({
    kind: 'email',
    name: 'mail',
    surface: { names: Object.keys(TENANTS), choose: (input) => `tenant-${(input as Input).tenant}` },
    key: () => 'mail-1',
    ...options,
    run,
  })
  const request = { surface: made.guard.surface('tool-server'), tool: 'send', callId: 'call_1' }
  const send = (input: I) => made.guard.call(request, (call) => call.commit(mail, input))
  return { ...made, run, send, journal }
}

const MISCONFIGURED = {
  ok: false,
  executed: false,
  effects: [{ name: 'mail', state: 'denied' }],
  refusal: { code: 'GUARD_MISCONFIGURED', boundary: 'side_effect' },
}

describe('an input that is changed once it is committed: nothing runs', () => {
  test.each<[string, Partial<EffectOptions<Input, unknown>>]>([
    ['its key', { key: toB }],
    ['its redact', { redact: toB }],
    [
      'the choice of its surface',
      {
        surface: {
          names: Object.keys(TENANTS),
          choose: (input) => `tenant-${[input.tenant, toB(input)][0] ?? ''}`,
        },
      },
    ],
  ])('by %s', async (_what, options) => {
    const { send, run, authority, lines } = await mailer(options)
    expect(await send({ tenant: 'a' })).toMatchObject(MISCONFIGURED)
    expect(run).not.toHaveBeenCalled()
    // It was asked for the tenant that it named.
    expect(authority.questions.at(-1)?.deviceIds).toContain(TENANTS['tenant-a'])
    expect(lines).toContainEqual(
      expect.objectContaining({
        effect: 'mail',
        call_id: 'call_1',
        msg: expect.stringMatching(/input of this effect was changed/),
      }),
    )
  })

  test('while it is asked for', async () => {
    const { send, run, authority } = await mailer({})
    const input = { tenant: 'a' }
    authority.beforeAnswer = ({ boundary }) => void (boundary === 'side_effect' && toB(input))
    expect(await send(input)).toMatchObject(MISCONFIGURED)
    expect(run).not.toHaveBeenCalled()
  })

  test('the same input unchanged runs', async () => {
    const { send, run } = await mailer({})
    expect(await send({ tenant: 'a' })).toMatchObject({ ok: true })
    expect(run).toHaveBeenCalledTimes(1)
  })
})

test('an input that JSON does not show: no change of it could be told, so nothing is stored, asked for or run', async () => {
  const choose = vi.fn(({ to }: { to: ReadonlySet<string> }) => `tenant-${[...to][0] ?? ''}`)
  const { send, run, authority, lines, journal } = await mailer<{ to: ReadonlySet<string> }>({
    surface: { names: Object.keys(TENANTS), choose },
  })
  const begin = vi.spyOn(journal, 'begin')
  expect(await send({ to: new Set(['a']) })).toMatchObject({
    ok: false,
    executed: false,
    refusal: { code: 'GUARD_MISCONFIGURED', boundary: 'side_effect' },
  })
  for (const untouched of [run, choose, begin]) expect(untouched).not.toHaveBeenCalled()
  expect(authority.boundaries).toEqual(['startup', 'tool'])
  expect(lines).toContainEqual(
    expect.objectContaining({ effect: 'mail', err: expect.stringMatching(/what is in "to" \(Set\)/) }),
  )
})

describe('a function that must answer at once and is async', () => {
  const late = (() => Promise.reject(new Error('no such tenant'))) as never
  async function noneUnhandled(deny: () => Promise<unknown>) {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => void process.off('unhandledRejection', unhandled))
    await deny()
    await new Promise((resolve) => setImmediate(resolve))
    expect(unhandled).not.toHaveBeenCalled()
  }

  test.each<[string, Partial<EffectOptions<Input, unknown>>]>([
    ['choose', { surface: { names: ['tenant-a'], choose: late } }],
    ['key', { key: late }],
    ['redact', { redact: late }],
  ])('%s of an effect: denied, and its rejection ends no process', async (_what, options) => {
    const { send, run } = await mailer(options)
    await noneUnhandled(async () => {
      expect(await send({ tenant: 'a' })).toMatchObject({ refusal: { code: 'GUARD_MISCONFIGURED' } })
    })
    expect(run).not.toHaveBeenCalled()
  })

  test('choose of surfaceBy: no surface, and its rejection ends no process', async () => {
    const { guard } = await startedGuard({ surfaces: TENANTS })
    const place = guard.surfaceBy(['tenant-a'], late)
    await noneUnhandled(async () => expect(place.choose(undefined as never)).toBeUndefined())
  })
})
