import { HoldpointError } from '../../errors.ts'
import { resultJson } from '../../guard/effect-run.ts'
import type { CommittedWith, Journal } from '../../guard/journal.ts'
import { notOurs } from '../transaction-errors.ts'
import type { Session } from './session.ts'
import { MARK, SETTLE_OWN } from './journal-rows.ts'
import { lendTransaction, type PostgresTransaction } from './lent-transaction.ts'
import type { Reservation, Reservations } from './reservations.ts'
import type { ToolDatabase } from './tool-database.ts'

type Work = (transaction: PostgresTransaction) => unknown

/**
 * E4: what `work` writes and the outcome are one COMMIT. Our own row is locked from the first statement on: whoever looks
 * at the key waits until this transaction has ended, and so is never told too early that nothing was written.
 */
export function createSettleWith(
  { readNow }: Pick<ToolDatabase, 'readNow'>,
  reservations: Reservations,
): Required<Journal>['settleWith'] {
  return async (token, work) => {
    const reservation = reservations.take(token)
    if (reservation === undefined) throw notOurs()
    let isOurs = true
    try {
      const value = await reservation.connection.transact(async (session) => {
        // Nothing of what an earlier effect set for its session.
        const marking = Promise.all([session.run(MARK, [token]), session.exec('RESET ALL')])
        // G3: nothing is awaited before this.
        const working = begin(session, work, reservation)
        try {
          isOurs = (await marking)[0] === 1
          if (!isOurs) throw notOurs()
          const result = await working.result
          const outcome = resultJson(result) ?? null
          isOurs = (await session.run(SETTLE_OWN, [outcome, await readNow(session), token])) === 1
          if (!isOurs) throw notOurs()
          return result
        } finally {
          working.end()
        }
      })
      return { committed: true, value } as CommittedWith<never>
    } catch (thrown) {
      // Without a COMMIT that was sent nothing can be there, whatever failed.
      if (!isOurs || isOutcomeUnknown(thrown)) throw thrown
      return { committed: false, thrown }
    } finally {
      reservation.connection.release()
    }
  }
}

/** Calls `work` now. `result` rejects at its deadline; after that, and after `end`, its transaction is of no use. */
function begin(session: Session, work: Work, { deadlineMs }: Reservation) {
  const lent = lendTransaction(session)
  const deadline = Promise.withResolvers<never>()
  const timer = setTimeout(() => deadline.reject(tookTooLong(deadlineMs)), deadlineMs)
  const run = async () => work(lent.transaction)
  const end = () => {
    clearTimeout(timer)
    lent.end()
  }
  const result = Promise.race([run(), deadline.promise]).finally(end)
  // Somebody else's error may come first.
  result.catch(() => undefined)
  return { result, end }
}

function isOutcomeUnknown(thrown: unknown): boolean {
  return thrown instanceof HoldpointError && thrown.code === 'STORE_OUTCOME_UNKNOWN'
}

function tookTooLong(deadlineMs: number): HoldpointError {
  return new HoldpointError(
    'TRANSACTION_TIMEOUT',
    `A transactional effect took longer than its deadline of ${deadlineMs} ms, and was rolled back. Do less in it.`,
  )
}
