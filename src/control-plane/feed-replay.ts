import { scanDecisions, type Scanning } from './decision-scan.ts'
import { changeEntry, decisionEntry, entry, fits, type FeedEntry, type FeedFilter } from './feed-events.ts'
import type { ControlPlaneStore } from './store.ts'

/** How many events are repeated at most. */
export const MAX_REPLAYED = 1000
/** A decision is told once it is stored, which is a little after changes that came later. Some come twice instead. */
const SLACK_MS = 2000

/** How many decisions are looked at at most. */
const MAX_LOOKED = 10_000

interface Reading extends Scanning {
  readonly store: Pick<ControlPlaneStore, 'listAudit' | 'auditHead' | 'listDecisions'>
}

/**
 * What was stored since an event that a reader has seen, oldest first: the newest `MAX_REPLAYED` of it, after an event
 * that says so when there was more. Those of the last two seconds before it come again.
 */
export async function replay(
  reading: Reading,
  orgId: string,
  filter: FeedFilter,
  lastEventId: string,
): Promise<readonly FeedEntry[]> {
  const sinceMs = timeOf(lastEventId) - SLACK_MS
  const changes = await changesSince(reading, orgId, filter, sinceMs)
  const decisions = await decisionsSince(reading, orgId, filter, sinceMs)
  const entries = [...changes.entries, ...decisions.entries]
    .filter(({ id }) => id !== lastEventId)
    .sort((a, b) => timeOf(a.id ?? '') - timeOf(b.id ?? ''))
  if (!changes.more && !decisions.more && entries.length <= MAX_REPLAYED) return entries
  return [missed(sinceMs), ...entries.slice(-MAX_REPLAYED)]
}

/** The time in a UUIDv7. */
function timeOf(eventId: string): number {
  return Number.parseInt(eventId.slice(0, 8) + eventId.slice(9, 13), 16)
}

function missed(sinceMs: number): FeedEntry {
  const since = new Date(sinceMs).toISOString()
  const message = `More happened since ${since} than the ${MAX_REPLAYED} events that follow. GET /api/v1/decisions and GET /api/v1/audit have all of it.`
  return entry(undefined, { type: 'missed', since, message })
}

interface Since {
  readonly entries: readonly FeedEntry[]
  /** There is more than was looked at. */
  readonly more: boolean
}

const NOTHING: Since = { entries: [], more: false }

async function decisionsSince(
  reading: Reading,
  orgId: string,
  filter: FeedFilter,
  fromMs: number,
): Promise<Since> {
  if (filter.types?.has('decision') === false) return NOTHING
  const { decisions, nextBefore } = await scanDecisions(reading, orgId, {
    within: { fromMs },
    filter,
    limit: MAX_REPLAYED,
    maxLooked: MAX_LOOKED,
  })
  return { entries: decisions.map(decisionEntry), more: nextBefore !== null }
}

async function changesSince(
  { store, turn }: Reading,
  orgId: string,
  filter: FeedFilter,
  fromMs: number,
): Promise<Since> {
  if (filter.types?.has('change') === false) return NOTHING
  await turn()
  const head = (await store.auditHead(orgId))?.seq ?? 0
  const rows = await store.listAudit(orgId, { after: Math.max(0, head - MAX_REPLAYED), limit: MAX_REPLAYED })
  const since = rows.filter(({ atMs }) => atMs >= fromMs)
  const entries = since.map(changeEntry).filter(({ event }) => fits(filter, event))
  return { entries, more: since.length === MAX_REPLAYED && head > MAX_REPLAYED }
}
