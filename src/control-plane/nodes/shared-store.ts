import type { AuditRow, DecisionRecord } from '../records.ts'
import type { Superseded } from '../stops/stop-streams.ts'
import type { NodeStore } from './node-store.ts'

// What a store can do that several control planes, its nodes, use at once. With SQLite there is one, and none of this.

/** What one node has to say to all others, and what no row of the audit says. */
export interface NodeMessage {
  /** This replica has opened its stream of stops on that node: an older one elsewhere ends. */
  readonly type: 'opened'
  readonly by: Superseded
}

/** Called one after the other; what throws is a mistake of the program. */
export interface NewsListener {
  /**
   * Told of every change of every node, this one included: what belongs to one org in the order of its chain, each row
   * once, within about a second of its COMMIT however many notifications were lost.
   */
  readonly committed: (rows: readonly AuditRow[]) => void
  /** Told of decisions that other nodes have stored, of these orgs alone. Some may come twice, and some never. */
  readonly decided: (decisions: readonly DecisionRecord[]) => void
  readonly wantsDecisionsOf: () => ReadonlySet<string>
  /** Told by another node. */
  readonly told: (message: NodeMessage) => void
  /**
   * Some of it is gone: this node was cut off for longer than news are kept, or the database went back to an older state.
   * Whoever listens here must be sent away, to come back for what he missed.
   */
  readonly lost: () => void
}

export interface NodeNews {
  /** All that happened since the store was opened, and from now on. One listener. Answers how to end it. */
  readonly listen: (listener: NewsListener) => () => void
  /** Resolves once it is stored; each other node hears it within about a second. */
  readonly tell: (messages: readonly NodeMessage[]) => Promise<void>
}

/**
 * Of a store with nodes `recordStopEvidence` notes with a stream which node has it: the end of one says nothing of what
 * the replica has on other nodes.
 */
export interface SharedStore extends NodeNews, NodeStore {}
