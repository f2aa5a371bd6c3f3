import type { CommittedWith, JournalTransaction } from '../../guard/journal.ts'
import { HoldpointError } from '../../errors.ts'
import { resultJson } from '../../guard/effect-run.ts'
import type { JournalStatements } from './journal-rows.ts'
import type { OpenToolFile } from './tool-file.ts'

/** E4: what `work` writes and the outcome are one commit. `work` runs between BEGIN and COMMIT, so it cannot be async. */
export function createSettleWith({ db, writer, nowMs }: OpenToolFile, statements: JournalStatements) {
  return async <Result>(
    token: string,
    work: (transaction: JournalTransaction) => Result,
  ): Promise<CommittedWith<Result>> => {
    // Until nothing but the COMMIT is left, whatever fails is rolled back; after that nobody can tell. What another owner
    // of the key has done cannot be told here either.
    let certain = true
    try {
      const value = writer.transact(() => {
        if (statements.ownIntent.get(token) === undefined) {
          certain = false
          throw notOurs()
        }
        const result = work(db)
        certain = db.isTransaction
        if (!certain) throw endedTransaction()
        refusePromise(result)
        statements.settle.run({ state: 'done', result: resultJson(result) ?? null, now: nowMs(), token })
        certain = false
        return result
      })
      return { committed: true, value }
    } catch (thrown) {
      if (certain) return { committed: false, thrown }
      throw thrown
    }
  }
}

function refusePromise(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') return
  // Nobody awaits it, and its failure must not bring the process down.
  Promise.resolve(result).catch(() => undefined)
  throw new HoldpointError(
    'TRANSACTION_ASYNC',
    'A transactional effect gave a promise, and was rolled back. Its run must not be async: ' +
      'a SQLite transaction never spans an await. Do what needs one before the effect.',
  )
}

function notOurs(): HoldpointError {
  return new HoldpointError(
    'ATTEMPT_LOST',
    'This attempt at the effect is no longer ours, so it wrote nothing. Whether another one did, its outcome says.',
  )
}

function endedTransaction(): HoldpointError {
  return new HoldpointError(
    'TRANSACTION_ENDED',
    'A transactional effect ended the transaction itself, so its outcome is unknown. Leave COMMIT and ROLLBACK to the journal.',
  )
}
