// A tool whose surface is chosen from its arguments: one surface per tenant, each of which an operator can stop alone.

import { run, RunContext } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  defineEffect,
  guardedTool,
  guardedToolCore,
  guardResponse,
  resumeAgent,
  runAgent,
  serializeState,
  type Guard,
} from 'holdpoint'
import { EMAIL, SERVER, startedGuard } from '../fixtures/guard.ts'
import { done, gate, refusalIn, scripted, toldIn } from './helpers.ts'
import { ann, decideAll, hostedWorld } from './hosted/world.ts'
import {
  byTenant,
  exportCall,
  exportTool,
  SURFACES,
  TENANT,
  TENANTS,
  type Export,
  type ExportOptions,
} from './tenants.ts'

async function world(options: (guard: Guard) => ExportOptions = () => ({})) {
  const made = await startedGuard({ surfaces: SURFACES })
  const exported: string[] = []
  const tool = exportTool(
    made.guard,
    ({ tenant, report }: Export) => {
      exported.push(`${tenant}:${report}`)
      return 'exported'
    },
    options(made.guard),
  )
  const core = guardedToolCore(tool)
  if (core === undefined) throw new Error('not guarded')
  return { ...made, exported, tool, core }
}

describe('two tenants in one run, one of them revoked', () => {
  test('its calls are denied, the other’s go on, called at once (G1)', async () => {
    const { authority, exported, tool } = await world()
    authority.stop(TENANT('a'))
    const calls = [
      exportCall('a1', 'a', 'r1'),
      exportCall('b1', 'b', 'r1'),
      exportCall('a2', 'a', 'r2'),
      exportCall('b2', 'b', 'r2'),
    ]
    const { agent, model } = scripted([tool], [calls, done])
    await run(agent, 'go')
    expect(exported).toEqual(['b:r1', 'b:r2'])
    expect(toldIn(model)).toMatchObject({ b1: 'exported', b2: 'exported' })
    for (const callId of ['a1', 'a2'])
      expect(refusalIn(model, callId)).toMatchObject({
        code: 'DEVICE_REVOKED',
        boundary: 'tool',
        device_id: TENANT('a'),
        executed: false,
      })
  })

  test('both hold points ask for the server and the tenant, and for nobody else (G2)', async () => {
    const { authority, tool } = await world()
    const { agent } = scripted([tool], [[exportCall('a1', 'a')], done])
    await run(agent, 'go')
    expect(authority.questions.slice(1).map(({ boundary, deviceIds }) => [boundary, deviceIds])).toEqual([
      ['tool', [SERVER, TENANT('a')]],
      ['side_effect', [SERVER, TENANT('a')]],
    ])
  })

  test('a stop between the two hold points stops the effect', async () => {
    const { authority, exported, tool } = await world()
    authority.beforeAnswer = ({ boundary }) => {
      if (boundary === 'tool') authority.beforeAnswer = () => authority.stop(TENANT('a'))
    }
    const { agent, model } = scripted([tool], [[exportCall('a1', 'a')], done])
    await run(agent, 'go')
    expect(exported).toEqual([])
    expect(refusalIn(model, 'a1')).toMatchObject({ boundary: 'side_effect', device_id: TENANT('a') })
  })

  test('a stop that is pushed ends the calls of that tenant which are under way, and no others', async () => {
    const { guard, authority } = await startedGuard({ surfaces: SURFACES })
    const both = gate()
    const goOn = gate()
    const started: string[] = []
    const aborted: string[] = []
    const read = guardedTool(byTenant(guard), {
      name: 'read',
      description: 'Read',
      parameters: z.object({ tenant: z.string() }),
      effects: 'none',
      execute: async ({ tenant }, { signal }) => {
        started.push(tenant)
        if (started.length === 2) both.resolve()
        await goOn.promise
        if (signal.aborted) aborted.push(tenant)
      },
    })
    const core = guardedToolCore(read)
    if (core === undefined) throw new Error('not guarded')
    const calls = ['a', 'b'].map((tenant) => core.call({ arguments: { tenant } }))
    await both.promise
    authority.stopNow(TENANT('a'))
    goOn.resolve()
    await Promise.all(calls)
    expect(aborted).toEqual(['a'])
  })
})

describe('the surface is chosen from the arguments that the body gets', () => {
  test.each([
    ['as the schema changes them', { tenant: 'A', report: 'r1' }],
    ['as JSON', '{"tenant":"b","tenant":"a","report":"r1"}'],
  ])('%s', async (_how, args) => {
    const { authority, exported, core } = await world()
    await core.call({ arguments: args, callId: 'c1' })
    expect(exported).toEqual(['a:r1'])
    expect(authority.questions.at(-1)?.deviceIds).toEqual([SERVER, TENANT('a')])
    authority.stop(TENANT('a'))
    expect(await core.call({ arguments: args, callId: 'c2' })).toMatchObject({
      body: { code: 'DEVICE_REVOKED', device_id: TENANT('a') },
    })
    expect(exported).toEqual(['a:r1'])
  })

  test('with their defaults', async () => {
    const { authority, exported, core } = await world()
    await core.call({ arguments: { report: 'r1' }, callId: 'c1' })
    expect(exported).toEqual(['b:r1'])
    expect(authority.questions.at(-1)?.deviceIds).toEqual([SERVER, TENANT('b')])
  })

  test('and it is not asked about arguments that do not fit', async () => {
    const { guard, authority } = await startedGuard({ surfaces: SURFACES })
    const asked: unknown[] = []
    const place = guard.surfaceBy(['tenant-a'], (args: Export) => {
      asked.push(args)
      return 'tenant-a'
    })
    const core = guardedToolCore(exportTool(guard, () => 'x', { place }))
    expect(await core?.call({ arguments: { tenant: 'a', report: 7 } })).toMatchObject({
      kind: 'bad_arguments',
    })
    expect(asked).toEqual([])
    expect(authority.boundaries).toEqual(['startup'])
  })
})

describe('a call for which no surface can be chosen is one that nobody could stop (G4)', () => {
  const throwing = (guard: Guard) => ({
    place: guard.surfaceBy(['tenant-a'], () => {
      throw new Error('no such tenant')
    }),
  })
  const past = (name: string) => (guard: Guard) => ({
    place: guard.surfaceBy(['tenant-a', 'tenant-b'], () => name),
  })
  test.each([
    ['an unknown tenant', () => ({})],
    ['a choice that throws', throwing],
    ['a declared surface that is none of its own', past('email')],
    ['the server device', past('tool-server')],
    ['nothing', past('')],
    ['a name that every object has', past('constructor')],
  ])('%s: denied GUARD_MISCONFIGURED, nothing asked, nothing run, and logged', async (_what, options) => {
    const { authority, exported, tool, lines } = await world(options)
    const { agent, model } = scripted([tool], [[exportCall('c1', 'c')], done])
    await run(agent, 'go')
    expect(exported).toEqual([])
    expect(authority.boundaries).toEqual(['startup'])
    expect(refusalIn(model, 'c1')).toMatchObject({
      code: 'GUARD_MISCONFIGURED',
      boundary: 'tool',
      device_id: SERVER,
      executed: false,
    })
    expect(lines.find(({ code }) => code === 'GUARD_MISCONFIGURED')).toMatchObject({
      allowed: false,
      boundary: 'tool',
      tool: 'export_report',
      call_id: 'c1',
    })
    expect(lines.find(({ surfaces }) => surfaces !== undefined)).toMatchObject({
      tool: 'export_report',
      call_id: 'c1',
      surfaces: expect.arrayContaining(['tenant-a']),
    })
  })

  test('nobody is asked to approve it by a policy, and no policy sees it', async () => {
    const seen: string[] = []
    const needsApproval = (_context: unknown, { tenant }: Export) => seen.push(tenant) > 0
    const { guard, exported, tool } = await world(() => ({ needsApproval }))
    const { agent, model } = scripted([tool], [[exportCall('c1', 'c')], done])
    expect(await runAgent(guard, agent, 'go')).toMatchObject({ status: 'completed', approvals: [] })
    expect(refusalIn(model, 'c1').code).toBe('GUARD_MISCONFIGURED')
    expect([seen, exported]).toEqual([[], []])
  })

  test('`stop` ends the run on it', async () => {
    const { guard, tool } = await world(() => ({ onDenied: 'stop' }))
    const { agent, model } = scripted([tool], [[exportCall('c1', 'c')], done])
    expect(await runAgent(guard, agent, 'go')).toMatchObject({ status: 'denied' })
    expect(model.calls).toHaveLength(1)
  })

  test('a tool cannot be made on surfaces that are not declared, or on none', async () => {
    const { guard } = await startedGuard({ surfaces: SURFACES })
    expect(() => guard.surfaceBy(['tenant-a', 'tenant-z'], () => 'tenant-a')).toThrow(/tenant-z/)
    expect(() => guard.surfaceBy([], () => 'tenant-a')).toThrow(/surfaceBy/)
  })
})

describe('effects of such a tool', () => {
  async function checkout() {
    const made = await startedGuard({ surfaces: { ...SURFACES, 'email-a': 'openai-agent:test:email:a' } })
    const ran: string[] = []
    const charge = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: (input: { tenant: string }) => input.tenant,
      run: ({ tenant }) => void ran.push(`charge ${tenant}`),
    })
    const receipt = defineEffect({
      kind: 'email',
      name: 'receipt',
      surface: 'email',
      key: 'each-call',
      run: () => void ran.push('receipt'),
    })
    const placeOf = ({ to }: { to: string }) => {
      if (to === 'nobody') throw new Error('no such tenant')
      return to === 'server' ? 'tool-server' : `email-${to}`
    }
    const notice = defineEffect({
      kind: 'email',
      name: 'notice',
      surface: { names: ['email-a'], choose: placeOf },
      key: 'each-call',
      run: ({ to }) => void ran.push(`notice ${to}`),
    })
    const tool = guardedTool(byTenant(made.guard), {
      name: 'checkout',
      description: 'Charge, and mail',
      parameters: z.object({ tenant: z.string(), to: z.string() }),
      effects: { charge, receipt, notice },
      execute: async ({ tenant, to }, { effects }) => {
        await effects.charge({ tenant })
        await effects.receipt(undefined)
        await effects.notice({ to })
      },
    })
    const core = guardedToolCore(tool)
    if (core === undefined) throw new Error('not guarded')
    return { ...made, core, ran }
  }

  test('without a surface of their own sit on that of the call; others on theirs, chosen from their input or not', async () => {
    const { authority, core, ran } = await checkout()
    expect(await core.call({ arguments: { tenant: 'a', to: 'a' }, callId: 'c1' })).toMatchObject({
      kind: 'output',
    })
    expect(authority.questions.slice(1).map(({ deviceIds }) => deviceIds.at(-1))).toEqual([
      TENANT('a'),
      TENANT('a'),
      EMAIL,
      'openai-agent:test:email:a',
    ])
    expect(ran).toEqual(['charge a', 'receipt', 'notice a'])
  })

  test.each(['b', 'server', 'nobody'])(
    'an effect whose input (%s) names none of its surfaces is denied, and not run (G4)',
    async (to) => {
      const { authority, core, ran, lines } = await checkout()
      const answer = await core.call({ arguments: { tenant: 'a', to }, callId: 'c1' })
      expect(answer).toMatchObject({ body: { code: 'GUARD_MISCONFIGURED', boundary: 'side_effect' } })
      expect(authority.questions).toHaveLength(4)
      expect(ran).toEqual(['charge a', 'receipt'])
      expect(lines.find(({ effect, err }) => effect === 'notice' && err !== undefined)).toMatchObject({
        tool: 'checkout',
      })
    },
  )

  test('an effect on surfaces that are not declared is refused when the tool is made', async () => {
    const { guard } = await startedGuard({ surfaces: SURFACES })
    const notice = defineEffect({
      kind: 'email',
      name: 'notice',
      surface: { names: ['email', 'email-z'], choose: () => 'email' },
      key: 'each-call',
      run: () => 1,
    })
    const base = { name: 'x', description: 'x', parameters: z.object({ tenant: z.string() }) }
    expect(() => guardedTool(byTenant(guard), { ...base, effects: { notice }, execute: () => 1 })).toThrow(
      /email-z/,
    )
  })
})

const toB = (args: { tenant: string }) => Object.assign(args, { tenant: 'b' })

test.each([
  ['prepare', { prepare: toB }],
  ['needsApproval', { needsApproval: (_: unknown, args: { tenant: string }) => toB(args).tenant === '' }],
])(
  'a %s that changes the arguments does not lead past the stop of another tenant (G1)',
  async (_, option) => {
    const { guard, authority } = await startedGuard({ surfaces: SURFACES })
    const exported: string[] = []
    const tool = guardedTool(byTenant(guard), {
      name: 'export_report',
      description: 'Export one report of one tenant',
      parameters: z.object({ tenant: z.string() }),
      effect: 'publish',
      key: 'each-call',
      ...option,
      commit: ({ tenant }) => void exported.push(tenant),
    })
    authority.stop(TENANT('b'))
    const answer = await guardedToolCore(tool)?.call({ arguments: { tenant: 'a' }, callId: 'c1' })
    expect(answer).toMatchObject({ body: { code: 'TOOL_FAILED', executed: false } })
    expect(exported).toEqual([])
  },
)

describe('what its author changes after the arguments have chosen the surface does not run (G1)', () => {
  async function tenantTool(option: object) {
    const { guard, authority } = await startedGuard({ surfaces: SURFACES })
    authority.stop(TENANT('b'))
    const exported: unknown[] = []
    const first = (tenants: unknown) => `tenant-${[...(tenants as Iterable<string>)][0] ?? ''}`
    const place = guard.surfaceBy(Object.keys(TENANTS), (args: { tenants: unknown }) => first(args.tenants))
    const tool = guardedTool(place, {
      name: 'export_reports',
      description: 'Export the reports of tenants',
      parameters: z.object({ tenants: z.array(z.string()) }),
      effect: 'publish',
      key: 'each-call',
      commit: ({ tenants }) => void exported.push([...tenants]),
      ...option,
    })
    const core = guardedToolCore(tool)
    return { exported, call: () => core?.call({ arguments: { tenants: ['a'] }, callId: 'c1' }), authority }
  }
  const aSet = z.object({ tenants: z.preprocess((given) => new Set(given as string[]), z.any()) })
  const toSetOfB = ({ tenants }: { tenants: Set<string> }) => {
    tenants.clear()
    tenants.add('b')
  }

  test.each([
    ['key', { key: (args: { tenants: string[] }) => String((args.tenants = ['b'])) }],
    ['redact', { redact: (args: { tenants: string[] }) => (args.tenants = ['b']) }],
  ])('in %s', async (_where, option) => {
    const { exported, call } = await tenantTool(option)
    expect(await call()).toMatchObject({ body: { code: 'GUARD_MISCONFIGURED', executed: false } })
    expect(exported).toEqual([])
  })

  test('in prepare, where JSON does not show it: such arguments reach neither prepare nor commit', async () => {
    const { exported, call, authority } = await tenantTool({ parameters: aSet, prepare: toSetOfB })
    expect(await call()).toMatchObject({ body: { code: 'TOOL_FAILED', executed: false } })
    expect(exported).toEqual([])
    expect(authority.boundaries).toEqual(['startup', 'tool'])
  })

  test('without prepare: denied before the question', async () => {
    const { exported, call, authority } = await tenantTool({ parameters: aSet })
    expect(await call()).toMatchObject({ body: { code: 'GUARD_MISCONFIGURED', boundary: 'side_effect' } })
    expect(exported).toEqual([])
    expect(authority.boundaries).toEqual(['startup', 'tool'])
  })
})

test('a hosted run pays what was approved or nothing: a key that changes it pays nothing', async () => {
  const paid: unknown[] = []
  const { runs } = await hostedWorld({
    agents: (guard) => {
      const pay = guardedTool(guard.surface('payments'), {
        name: 'pay',
        description: 'Pay',
        parameters: z.object({ invoice: z.string(), cents: z.number() }),
        needsApproval: true,
        effect: 'payment',
        key: (args) => {
          args.cents *= 100
          return args.invoice
        },
        commit: (args) => void paid.push(args),
      })
      const turns = [[functionCall('pay', { invoice: 'INV-1', cents: 5 }, { callId: 'c1' })], done]
      return [{ agent: scripted([pay], turns, { name: 'cashier' }).agent }]
    },
  })
  await runs.start(ann, { agent: 'cashier', input: 'go', runId: 'run_1' })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
  expect(paid).toEqual([])
})

describe('approvals, where the app keeps the paused state itself', () => {
  test('one for tenant a does not let the same call run for tenant b', async () => {
    const { guard, exported, tool } = await world(() => ({ needsApproval: true }))
    const { agent } = scripted([tool], [[exportCall('c1', 'a')], done])
    const paused = await runAgent(guard, agent, 'go')
    if (paused.state === undefined) throw new Error('not paused')
    const text = serializeState(paused.state)
    const tampered = text.replaceAll('\\"tenant\\":\\"a\\"', '\\"tenant\\":\\"b\\"')
    expect(tampered).not.toBe(text)
    const approvals = [{ callId: 'c1', digest: paused.approvals[0]?.digest ?? '', approve: true }]
    await expect(resumeAgent(guard, agent, tampered, { approvals })).rejects.toMatchObject({
      code: 'APPROVAL_MISMATCH',
    })
    expect(exported).toEqual([])
    await resumeAgent(guard, agent, text, { approvals })
    expect(exported).toEqual(['a:r1'])
  })
})

describe('without a run', () => {
  test('guardResponse chooses for each call', async () => {
    const { guard, authority, exported, tool } = await world()
    authority.stop(TENANT('a'))
    const item = (call_id: string, tenant: string) => ({
      type: 'function_call' as const,
      call_id,
      name: 'export_report',
      arguments: JSON.stringify({ tenant, report: 'r1' }),
    })
    const outputs = await guardResponse(guard, [tool], {
      output: [item('a1', 'a'), item('b1', 'b'), item('c1', 'c')],
    })
    expect(
      outputs.map(({ output }) => /DEVICE_REVOKED|GUARD_MISCONFIGURED|^exported$/.exec(output)?.[0]),
    ).toEqual(['DEVICE_REVOKED', 'exported', 'GUARD_MISCONFIGURED'])
    expect(exported).toEqual(['b:r1'])
  })

  test('a host can look: all surfaces, and that of a call', async () => {
    const { guard, core } = await world()
    expect(core.guard).toBe(guard)
    expect(core.surfaces.map(({ name }) => name)).toEqual(['tenant-a', 'tenant-b'])
    const { arguments: args } = (await core.parse('{"tenant":"A","report":"r1"}')) ?? {}
    expect(core.surfaceOf(args)).toBe(guard.surface('tenant-a'))
    expect(core.surfaceOf({ tenant: 'c', report: 'r1' })).toBeUndefined()
  })

  test('a call that is refused before its arguments are read is on the server device', async () => {
    const { core, authority } = await world(() => ({ isEnabled: () => true }))
    expect(await core.call({ arguments: { tenant: 'a', report: 'r1' } })).toMatchObject({
      body: { code: 'GUARD_MISCONFIGURED', device_id: SERVER },
    })
    expect(authority.boundaries).toEqual(['startup'])
  })
})

test('TOOL_TIMEOUT names the device of the tenant, in a run and without one', async () => {
  const { guard, authority, tool, core } = await world(() => ({ timeoutMs: 20 }))
  const answered = gate()
  authority.beforeAnswer = ({ boundary }) => (boundary === 'side_effect' ? answered.promise : undefined)
  const { agent, model } = scripted([tool], [[exportCall('a1', 'a')], done])
  await run(agent, 'go')
  expect(refusalIn(model, 'a1')).toMatchObject({ code: 'TOOL_TIMEOUT', device_id: TENANT('a') })
  expect(await core.call({ arguments: { tenant: 'b', report: 'r1' }, callId: 'b1' })).toMatchObject({
    body: { code: 'TOOL_TIMEOUT', device_id: TENANT('b') },
  })
  // A direct `invoke` without details tells no call from another.
  expect(await tool.invoke(new RunContext(), '{"tenant":"a","report":"r2"}')).toContain(SERVER)
  answered.resolve()
  await guard.close()
})
