import { createGuard } from '../../../src/guard/guard.ts'
import type { Authority } from '../../../src/guard/authority.ts'
import type { Decision } from '../../../src/guard/decision.ts'
import { createLogger } from '../../../src/log.ts'
import { SERVER_DEVICE } from './row.ts'
import { createMemoryJournal } from '../../../src/guard/memory-journal.ts'

export interface GuardedRun {
  readonly decision: Decision
  /** How often the guarded body ran. */
  readonly bodyCount: () => number
}

/** Starts a guard on `authority`, then meets one `tool` hold point. `arm` is called between the two. */
export async function runGuarded(
  authority: Authority,
  timeoutMs: number,
  arm: () => void,
): Promise<GuardedRun> {
  const guard = createGuard({
    journal: createMemoryJournal(),
    // The rows count requests: no stream of stops beside them.
    authority: {
      ask: (question) => authority.ask(question),
      registerDevice: (deviceId, options) => authority.registerDevice(deviceId, options),
      close: () => authority.close(),
    },
    serverDeviceId: SERVER_DEVICE,
    timeoutMs,
    log: createLogger({ level: 'silent' }),
  })
  const startup = await guard.start()
  if (!startup.allowed) throw new Error(`The startup question was denied with ${startup.code}.`)
  arm()
  let count = 0
  const at = { surface: guard.surface('tool-server'), boundary: 'tool', tool: 'send_payment' } as const
  const { decision } = await guard.run(at, () => {
    count += 1
  })
  return { decision, bodyCount: () => count }
}
