import { HoldpointError } from '../../errors.ts'
import type { OwnConnection } from './database.ts'

export interface Barrier {
  /**
   * Sends `read` at once, on the connection of the barrier, and answers it once the primary has proved that it still is
   * one. Rejects with a HoldpointError, after which the connection is gone.
   */
  readonly confirmed: <T>(read: () => Promise<T>) => Promise<T>
}

/** Assigns a transaction id and writes WAL, so its COMMIT waits for the synchronous standbys as that of a stop does. */
const MESSAGE = "SELECT pg_logical_emit_message(true, 'holdpoint', '')"
/** Without standbys the message waits for nobody, and proves nothing. Asked after it: it can be changed any time. */
const STANDBYS = "SELECT current_setting('synchronous_standby_names') AS standbys"

/**
 * G1 across a failover (`CONSISTENCY=quorum`): what a primary that was deposed still reads is not answered.
 *
 * Say a stop is acked, and a read is sent after that. The message follows the read on the same connection, so it is
 * carried out after it, and its COMMIT is confirmed by a synchronous standby that still follows this server at that
 * time. So that standby was not promoted before the read, nobody else was primary before the read, and the stop was
 * committed here: the read saw it. A server that was deposed waits for its standby in vain, and so does the read, until
 * the connection times out: a denial. It holds where a standby is promoted only when the commits of the old primary
 * cannot be confirmed by others any more: with one standby, with `ANY n` of n, or when the old primary is fenced off.
 *
 * One message is under way at a time; the next one covers whatever was read meanwhile.
 */
export function createBarrier({ session, client, abandon }: OwnConnection, label: string): Barrier {
  let underWay: Batch | undefined
  let next: Batch | undefined

  const fail = (error: unknown) => {
    // Nobody knows what this connection would still say. Its message may wait for a standby for hours, and there will be
    // another connection for the next question.
    abandon()
    for (const batch of [underWay, next]) batch?.reject(error)
    underWay = next = undefined
  }
  // For example "canceling wait for synchronous replication": the message is here, and perhaps nowhere else.
  client.on('notice', ({ message }) => fail(notConfirmed(label, message ?? 'a warning')))

  const send = async (batch: Batch): Promise<void> => {
    underWay = batch
    try {
      // The simple protocol, which reports a statement as done only after its COMMIT.
      const [, [row]] = await Promise.all([session.exec(MESSAGE), session.query(STANDBYS)])
      if (row?.['standbys'] === '') throw notConfirmed(label, 'synchronous_standby_names is empty')
    } catch (thrown) {
      fail(thrown)
      return
    }
    if (underWay !== batch) return
    batch.resolve()
    underWay = undefined
    const waiting = next
    next = undefined
    if (waiting !== undefined) void send(waiting)
  }

  /** Resolves once a message that is sent from now on is confirmed. */
  const confirm = (): Promise<void> => {
    if (underWay !== undefined) return (next ??= newBatch()).promise
    const batch = newBatch()
    void send(batch)
    return batch.promise
  }

  return {
    confirmed: async (read) => {
      const answered = read()
      const [answer] = await Promise.all([answered, confirm()])
      return answer
    },
  }
}

type Batch = PromiseWithResolvers<void>

function newBatch(): Batch {
  const batch = Promise.withResolvers<void>()
  // Whoever waits is told by its own promise; a batch that nobody waits for any more is no failure of the process.
  batch.promise.catch(() => {})
  return batch
}

function notConfirmed(label: string, problem: string): HoldpointError {
  return new HoldpointError(
    'STORE_NOT_CONFIRMED',
    `The database ${label} read something, and its standbys did not confirm that it still is the primary (${problem}). ` +
      'Look at pg_stat_replication there, and at synchronous_standby_names.',
  )
}
