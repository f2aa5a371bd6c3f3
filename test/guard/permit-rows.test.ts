import { describe, expect, onTestFinished, test } from 'vitest'

import { systemClock, type Clock } from '../../src/clock.ts'
import { createGuard, type Guard, type GuardOptions } from '../../src/guard/guard.ts'
import type { Permit } from '../../src/guard/permit.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { httpAnswer, startRawServer, type RawHandler } from '../fixtures/raw-server.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'
import { goodAnswer, goodRegistration, SERVER_DEVICE } from '../machineid/bad-answers/row.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'

// Rows 160 to 164 of the bad answers: the answer is good, but it is too late for it, or it was used.

interface Made {
  readonly guard: Guard
  /** Answers all questions that wait. Only after `hold()`. */
  readonly release: () => void
  readonly hold: () => void
  readonly waitingCount: () => number
}

/** A started guard whose authority is a server behind a real socket. */
async function startedGuard(clock: Clock, options: Partial<GuardOptions> = {}): Promise<Made> {
  let holding = false
  const waiting: (() => void)[] = []
  const handler: RawHandler = (request, socket) => {
    // Without a stream of stops.
    if (request.path !== PATHS.register && request.path !== PATHS.validateBatch) return void socket.destroy()
    const text =
      request.path === PATHS.register ? goodRegistration(request) : goodAnswer('holdpoint', request).text
    const answer = (): void => void socket.write(httpAnswer(text))
    if (holding) waiting.push(answer)
    else answer()
  }
  const server = await startRawServer(handler)
  const authority = new MachineID({ orgKey: 'org_permit_rows', baseUrl: server.url, clock })
  const log = createLogger({ level: 'silent' })
  const guard = createGuard({
    journal: createMemoryJournal(),
    authority,
    serverDeviceId: SERVER_DEVICE,
    clock,
    log,
    ...options,
  })
  onTestFinished(async () => {
    await guard.close({ graceMs: 0 })
    await authority.close()
    await server.close()
  })
  const startup = await guard.start()
  if (!startup.allowed) throw new Error(startup.code)
  return {
    guard,
    hold: () => (holding = true),
    release: () => {
      for (const answer of waiting.splice(0)) answer()
    },
    waitingCount: () => waiting.length,
  }
}

async function permitOf({ guard }: Made): Promise<Permit> {
  const checked = await guard.check({ surface: guard.surface('tool-server'), boundary: 'tool' })
  if (!checked.allowed) throw new Error(checked.decision.code)
  return checked.permit
}

/** What starting gives: that the body ran, or the code of the denial. */
function start(permit: Permit): string {
  const started = permit.start(() => 'the body ran')
  return started.started ? started.value : started.denied.code
}

test('a permit that is started at once: the body runs, so the rows can fail', async () => {
  expect(start(await permitOf(await startedGuard(new ManualClock())))).toBe('the body ran')
})

describe('160: G3: a permit older than maxAgeMs', () => {
  test('it waited in a slow queue: PERMIT_EXPIRED', async () => {
    const clock = new ManualClock()
    const permit = await permitOf(await startedGuard(clock))
    clock.advance(2001)
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })

  test('the event loop was blocked between verdict and start: PERMIT_EXPIRED', async () => {
    const permit = await permitOf(await startedGuard(systemClock, { timeoutMs: 100, maxAgeMs: 100 }))
    const blockedUntilMs = performance.now() + 120
    while (performance.now() < blockedUntilMs);
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })

  test('the process was stopped, or the machine suspended, so that only the wall clock moved: PERMIT_EXPIRED', async () => {
    const clock = new ManualClock()
    const permit = await permitOf(await startedGuard(clock))
    clock.advanceWall(2001)
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })

  test('suspended while the question was out: the answer does not count any more', async () => {
    const clock = new ManualClock()
    const made = await startedGuard(clock)
    made.hold()
    const checked = made.guard.check({ surface: made.guard.surface('tool-server'), boundary: 'tool' })
    await expect.poll(made.waitingCount).toBe(1)
    clock.advanceWall(3_600_000)
    made.release()
    expect(await checked).toMatchObject({ allowed: false, decision: { code: 'AUTHORITY_TIMEOUT' } })
  })
})

describe('161: the wall clock was set between question and start', () => {
  test.each([
    ['back', -1],
    ['far back', -86_400_000],
    ['forward', 86_400_000],
  ])('%s: PERMIT_EXPIRED', async (_, ms) => {
    const clock = new ManualClock()
    const permit = await permitOf(await startedGuard(clock))
    clock.advanceWall(ms)
    expect(start(permit)).toBe('PERMIT_EXPIRED')
  })
})

test('162: G2: a permit used twice: PERMIT_REUSED', async () => {
  const permit = await permitOf(await startedGuard(new ManualClock()))
  expect([start(permit), start(permit)]).toEqual(['the body ran', 'PERMIT_REUSED'])
})

describe('163: the guard is shutting down', () => {
  test('a permit from before does not start: GUARD_SHUTTING_DOWN', async () => {
    const made = await startedGuard(new ManualClock())
    const permit = await permitOf(made)
    await made.guard.close({ graceMs: 0 })
    expect(start(permit)).toBe('GUARD_SHUTTING_DOWN')
  })

  test('a new boundary is denied without a question: GUARD_SHUTTING_DOWN', async () => {
    const made = await startedGuard(new ManualClock())
    await made.guard.close({ graceMs: 0 })
    made.hold()
    const at = { surface: made.guard.surface('tool-server'), boundary: 'tool' } as const
    expect((await made.guard.run(at, () => 'ran')).decision.code).toBe('GUARD_SHUTTING_DOWN')
    expect(made.waitingCount()).toBe(0)
  })
})

test('164: more questions at once than allowed: GUARD_OVERLOADED for those above, and nothing is sent for them', async () => {
  const made = await startedGuard(new ManualClock(), { maxPendingQuestions: 3 })
  made.hold()
  const at = { surface: made.guard.surface('tool-server'), boundary: 'tool' } as const
  const runs = Array.from({ length: 5 }, () => made.guard.run(at, () => 'ran'))
  await expect.poll(made.waitingCount).toBe(3)
  made.release()
  const codes = (await Promise.all(runs)).map(({ decision }) => decision.code)
  expect(codes).toEqual(['ALLOW', 'ALLOW', 'ALLOW', 'GUARD_OVERLOADED', 'GUARD_OVERLOADED'])
  made.release()
  expect(made.waitingCount()).toBe(0)
})
