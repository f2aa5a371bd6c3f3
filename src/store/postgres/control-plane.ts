import { randomUUID } from 'node:crypto'

import { NODE_DEAD_MS } from '../../control-plane/nodes/node-store.ts'
import type { ControlPlaneStore } from '../../control-plane/store.ts'
import { approvalChanges, createApprovalStore } from './approvals.ts'
import { createChange } from './control-plane-change.ts'
import { createEvidence } from './control-plane-evidence.ts'
import { createReads } from './control-plane-reads.ts'
import { deviceFinder } from './control-plane-selection.ts'
import { createDatabase, type Database } from './database.ts'
import { openDecisionReader } from './decision-reader.ts'
import { noteDenials } from './denial-notes.ts'
import { createDrillStore } from './drills.ts'
import { enterStore, type EnteredStore, type EnterOptions } from './enter.ts'
import type { Knowledge } from './learned.ts'
import { openNews, type News } from './news.ts'
import { openNodeStore } from './node-store.ts'
import { NOW_MS } from './now.ts'
import { createOrgTurns, TURNS_AT_ONCE } from './org-turns.ts'
import { createRunReports } from './run-reports.ts'
import { createSessionStore, sessionChanges } from './sessions.ts'
import { createStopEvidence } from './stop-evidence.ts'
import { createStopReader, createStopReads } from './stops.ts'

/** `url`: `postgres://user:password@host:port/database`. `timeoutMs`: for each statement, too. */
export interface PostgresStoreOptions extends EnterOptions {
  /** The most connections for all but validates and news; two at least. */
  readonly poolSize: number
}

export interface PostgresControlPlaneStore extends ControlPlaneStore {
  /** For threads with connections of their own. */
  readonly knowledge: Knowledge
}

/**
 * Opens the control plane's tables in a database that several nodes share, making them, or bringing them forward. While
 * it is open the database may come and go: each call fails until it is back. Throws HoldpointError:
 * `STORE_UNREACHABLE`, `STORE_REFUSED`, `STORE_IN_RECOVERY`, `STORE_NOT_DURABLE`, `STORE_TOO_NEW`, …
 */
export async function openControlPlaneStore(
  options: PostgresStoreOptions,
): Promise<PostgresControlPlaneStore> {
  const { url, poolSize, timeoutMs, consistency, log } = options
  const entered = await enterStore(options)
  const closing: (() => Promise<void> | void)[] = []
  try {
    const { admit } = entered
    const open = (name: string, size: number) => {
      const opened = createDatabase({
        url,
        poolSize: size,
        timeoutMs,
        admit,
        schema: 'holdpoint_control_plane',
        name,
      })
      closing.push(opened.close)
      return opened
    }
    const ofChanges = Math.max(1, Math.min(Math.ceil(poolSize * PART_OF_CHANGES), poolSize - 1))
    const changing = open('holdpoint changes', ofChanges)
    const database = open('holdpoint control plane', Math.max(1, poolSize - ofChanges))
    const watch = entered.watch(database)
    closing.push(watch.close)
    const nodeId = randomUUID()
    const news = await openNews({ database, nodeId, log })
    closing.push(news.close)
    const nodes = await openNodeStore(changing, { nodeId, generation: entered.generation })
    closing.push(nodes.closeClock)
    const decisions = openDecisionReader({ url, poolSize: 1, timeoutMs, consistency, admit })
    closing.push(decisions.close)
    return {
      reader: decisions.reader,
      knowledge: entered.knowledge,
      get generation() {
        return entered.generation()
      },
      ...createParts(database, { changing, ofChanges, entered, news, nodeId, timeoutMs }),
      durability: watch.durability,
      shared: { ...nodes, listen: news.listen, tell: news.tell },
      // One that stops is there again when its answers are.
      problem: () => undefined,
      close: () => closeAll(closing),
    }
  } catch (thrown) {
    await closeAll(closing)
    throw thrown
  }
}

/**
 * Changes, what tells who asks for one, and the signs of life of this node have connections of their own: however many
 * reads are under way, and however long they take, no stop waits for one of them.
 */
const PART_OF_CHANGES = 0.6
/** Of those: for stops in one org, and for what tells who asks for them. */
const KEPT_FOR_STOPS = TURNS_AT_ONCE + 1
/** Whatever is kept: one org alone never takes all that others have. */
const LEAST_FOR_OTHERS = TURNS_AT_ONCE + 1

interface Shared {
  /** For changes. */
  readonly changing: Database
  /** How many connections it has. */
  readonly ofChanges: number
  readonly entered: EnteredStore
  readonly news: News
  readonly nodeId: string
  readonly timeoutMs: number
}

function createParts(database: Database, { changing, ofChanges, entered, news, nodeId, timeoutMs }: Shared) {
  const changes = {
    finder: deviceFinder,
    sessions: sessionChanges,
    approvals: approvalChanges,
    news,
    turns: createOrgTurns({
      waitMs: timeoutMs,
      mostOthers: Math.max(LEAST_FOR_OTHERS, ofChanges - KEPT_FOR_STOPS),
    }),
  }
  return {
    change: entered.noting(createChange(changing, changes)),
    ...createReads(database, deviceFinder),
    findKey: createReads(changing, deviceFinder).findKey,
    ...createEvidence(database, { noteDenials, news }),
    stops: createStopReader(database),
    ...createStopReads(database),
    ...createStopEvidence(database, { nodeId, livingNodes: () => livingNodes(database) }),
    ...createDrillStore(database),
    ...createSessionStore(database),
    findSession: (sessionId: string) => createSessionStore(changing).findSession(sessionId),
    ...createApprovalStore(database, deviceFinder),
    ...createRunReports(database),
  }
}

async function livingNodes({ query }: Database): Promise<string[]> {
  const living = await query(`SELECT node_id FROM nodes WHERE heard_at_ms > ${NOW_MS} - ${NODE_DEAD_MS}`)
  return living.map((row) => row['node_id'] as string)
}

/** What was opened last is closed first. */
async function closeAll(closing: readonly (() => Promise<void> | void)[]): Promise<void> {
  for (const close of closing.toReversed()) await close()
}
