import { GuardMisconfiguredError } from '../../errors.ts'
import { idempotencyKeyOf, type Effect } from '../../guard/effect.ts'
import { resultJson } from '../../guard/effect-run.ts'
import type { JournalEntry } from '../../guard/journal.ts'
import { reconcileUnknown, settleUnknown, type SettledUnknown } from '../../guard/settle-unknown.ts'
import { reachableAgents } from '../agent-graph.ts'
import type { AnyAgent } from '../session.ts'
import { guardedToolCore } from '../tool-core.ts'
import { requireApprover, type Host } from './host.ts'
import { RunRefused, type EffectView, type RunCaller, type Runs } from './run-types.ts'
import { effectView } from './views.ts'

type AnyEffect = Effect<unknown, unknown, never>

/** Those of the caller; an approver sees all. */
export async function unknownEffects(host: Host, who: RunCaller): Promise<readonly EffectView[]> {
  const entries = await host.guard.journal.listUnknown()
  return entries.filter(({ caller }) => who.mayApprove || caller === who.id).map(effectView)
}

export async function settleEffect(
  host: Host,
  who: RunCaller,
  effectId: string,
  { outcome, result, reason }: Parameters<Runs['settleEffect']>[2],
): Promise<EffectView> {
  requireApprover(who)
  if (reason.trim() === '')
    throw new RunRefused(
      'BAD_INPUT',
      'Say why the outcome is known: reason must not be empty. It is audited.',
    )
  const entry = await unknownEntry(host, effectId)
  const stored =
    outcome === 'done' ? ({ state: 'done', result: resultJson(result) } as const) : { state: outcome }
  const settled = await settleUnknown(host.guard, entry.key, stored, { by: who.id, reason })
  return settledView(host, entry, settled)
}

export async function reconcileEffect(host: Host, who: RunCaller, effectId: string): Promise<EffectView> {
  requireApprover(who)
  const entry = await unknownEntry(host, effectId)
  const effect = effectsByName(host).get(entry.effect)
  if (effect === undefined) throw impossible(entry)
  const settled = await reconcileUnknown(host.guard, entry, effect, who.id)
  return settledView(host, entry, settled)
}

function settledView(host: Host, entry: JournalEntry, settled: SettledUnknown): EffectView {
  if (settled.settled) return effectView({ ...entry, state: settled.state, changedAtMs: host.nowMs() })
  switch (settled.why) {
    case 'unknown':
      return effectView(entry)
    case 'impossible':
      throw impossible(entry)
    case 'running':
      throw new RunRefused(
        'EFFECT_NOT_UNKNOWN',
        `${idempotencyKeyOf(entry.key)} is past its deadline, but still on its way. What it says itself counts; try again in a minute.`,
      )
    case 'changed':
      throw new RunRefused(
        'EFFECT_NOT_UNKNOWN',
        `The outcome of ${idempotencyKeyOf(entry.key)} was settled meanwhile. List what is unknown again.`,
      )
  }
}

async function unknownEntry({ guard }: Host, effectId: string): Promise<JournalEntry> {
  const entries = await guard.journal.listUnknown()
  const entry = entries.find(({ key }) => idempotencyKeyOf(key) === effectId)
  if (entry !== undefined) return entry
  throw new RunRefused(
    'EFFECT_NOT_FOUND',
    `No unknown outcome has the id ${effectId}: it was settled already, or never was. List them: GET /runs?outcome=unknown`,
  )
}

function impossible({ effect }: JournalEntry): RunRefused {
  return new RunRefused(
    'RECONCILE_IMPOSSIBLE',
    `"${effect}" cannot be asked: it has no reconcile here, or its input was redacted. ` +
      'Look at the service itself, and settle it by hand.',
  )
}

/** Every effect of the tools that this server knows. Names are unique among those that share a journal. */
function effectsByName({ tools, agents }: Host): ReadonlyMap<string, AnyEffect> {
  const hosted = [...agents.values()].flatMap(({ agent }) =>
    reachableAgents(agent as AnyAgent).flatMap((one) => one.tools),
  )
  const effects = [...tools, ...hosted].flatMap((tool) => guardedToolCore(tool)?.effects ?? [])
  return new Map(effects.map((effect) => [effect.name, effect]))
}

/** So that nothing is done twice, the runs and the guard must share one journal. */
export function requireOneJournal(journal: unknown, storeJournal: unknown): void {
  if (journal === storeJournal) return
  throw new GuardMisconfiguredError(
    'The runs and the guard need the same journal: createGuard({ journal: toolStore.journal }).',
  )
}
