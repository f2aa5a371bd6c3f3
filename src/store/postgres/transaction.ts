import type { ClientBase } from 'pg'

import { HoldpointError } from '../../errors.ts'
import { isRefusedStatement, outcomeUnknown } from './errors.ts'
import type { Session, WatchedSession } from './session.ts'

export interface Transaction {
  readonly session: WatchedSession
  readonly client: ClientBase
  readonly label: string
}

/** One that `body` begins in this tick: BEGIN is sent together with its first statement, and answered before it. */
export async function transact<T>(on: Transaction, body: (session: Session) => Promise<T>): Promise<T> {
  const { session } = on
  const begun = session.exec('BEGIN')
  let result
  try {
    ;[result] = await Promise.all([body(session), begun])
  } catch (thrown) {
    session.end()
    // Of a connection that is gone the server rolls back by itself.
    await on.client.query('ROLLBACK').catch(session.spoil)
    throw (await refusalOf(begun, on.label)) ?? thrown
  }
  session.end()
  await commit(on)
  return result
}

/** Where the server refused BEGIN, it has committed each statement that was sent together with it by itself. */
async function refusalOf(begun: Promise<void>, label: string): Promise<HoldpointError | undefined> {
  try {
    await begun
    return undefined
  } catch (thrown) {
    const { cause } = thrown as HoldpointError
    return isRefusedStatement(cause) ? outcomeUnknown(cause, label) : undefined
  }
}

export async function snapshot<T>(
  { session, client }: Transaction,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const begun = session.exec('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    const [result] = await Promise.all([body(session), begun])
    return result
  } finally {
    session.end()
    // Nothing was written, and nobody waits for the answer: what comes next on this connection is answered after it.
    client.query('ROLLBACK').catch(session.spoil)
  }
}

/** G5: resolves only when Postgres has confirmed it, and had nothing to add. */
async function commit({ session, client, label }: Transaction): Promise<void> {
  const warnings: string[] = []
  const warned = ({ message }: { readonly message: string | undefined }) => void warnings.push(message ?? '')
  client.on('notice', warned)
  try {
    const { command } = await client.query('COMMIT')
    // A transaction in which a statement failed is rolled back by COMMIT, without an error.
    if (command !== 'COMMIT') throw rolledBack(label)
    // For example "canceling wait for synchronous replication": it is done here, and perhaps nowhere else.
    if (warnings.length > 0) throw new Error(warnings.join('; '))
  } catch (thrown) {
    session.spoil()
    throw thrown instanceof HoldpointError ? thrown : outcomeUnknown(thrown, label)
  } finally {
    client.off('notice', warned)
  }
}

function rolledBack(label: string): HoldpointError {
  return new HoldpointError(
    'STORE_FAILED',
    `The database ${label} rolled a change back instead of committing it.`,
  )
}
