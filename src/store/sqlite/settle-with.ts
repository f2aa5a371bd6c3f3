import type { CommittedWith, JournalTransaction } from '../../guard/journal.ts'
import { HoldpointError } from '../../errors.ts'
import { resultJson } from '../../guard/effect-run.ts'
import { endOf, type JournalRow } from '../journal-rows.ts'
import { endedTransaction, notOurs } from '../transaction-errors.ts'
import type { JournalStatements } from './journal-rows.ts'
import { lendDatabase } from './lent-database.ts'
import type { OpenToolFile } from './tool-file.ts'

/** E4: what `work` writes and the outcome are one commit. `work` runs between BEGIN and COMMIT, so it cannot be async. */
export function createSettleWith({ db, writer, nowMs }: OpenToolFile, statements: JournalStatements) {
  const own = (token: string) => statements.own.get(token) as unknown as JournalRow | undefined
  return async <Result>(
    token: string,
    work: (transaction: JournalTransaction) => Result,
  ): Promise<CommittedWith<Awaited<Result>>> => {
    // Until nothing but the COMMIT is left, whatever fails is rolled back; after that nobody can tell. What another owner
    // of the key has done cannot be told here either.
    let certain = true
    let brokeRules = false
    let isDeclared = false
    const isMarked = () => own(token)?.transactional === 0
    const refuse = (error: HoldpointError): never => {
      certain = false
      brokeRules = true
      throw error
    }
    const run = (): Result => {
      const lent = lendDatabase(db)
      try {
        return work(lent.db)
      } finally {
        lent.end()
        if (!db.isTransaction || (isDeclared && !isMarked())) refuse(endedTransaction())
      }
    }
    try {
      const value = writer.transact(() => {
        const row = own(token)
        if (row?.state !== 'intent') {
          certain = false
          throw notOurs()
        }
        isDeclared = row.transactional === 1
        // Undone by a rollback, and part of any COMMIT: if `work` makes one, nobody reads that nothing was written.
        statements.setTransactional.run(0, token)
        const result = run()
        if (isPromise(result)) refuse(asyncTransaction())
        statements.settle.run({ ...endOf({ state: 'done', result: resultJson(result) }, nowMs()), token })
        certain = false
        return result
      })
      return { committed: true, value: value as Awaited<Result> }
    } catch (thrown) {
      if (brokeRules) writer.transact(() => statements.setTransactional.run(0, token))
      // Rolled back, and still marked: `work` committed in between, and began again.
      if (certain && isDeclared && isMarked()) throw endedTransaction()
      if (certain) return { committed: false, thrown }
      throw thrown
    }
  }
}

function isPromise(result: unknown): boolean {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') return false
  // Nobody awaits it, and its failure must not bring the process down.
  Promise.resolve(result).catch(() => undefined)
  return true
}

/** What it does after its first await is no part of the transaction, and may be anything. */
function asyncTransaction(): HoldpointError {
  return new HoldpointError(
    'TRANSACTION_ASYNC',
    'A transactional effect gave a promise, so its outcome is unknown; what it wrote here was rolled back. ' +
      'Its run must not be async: a SQLite transaction never spans an await. Do what needs one before the effect.',
  )
}
