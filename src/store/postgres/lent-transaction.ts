import { HoldpointError } from '../../errors.ts'
import { overError } from '../transaction-errors.ts'
import type { Answered, Session } from './session.ts'

/**
 * The transaction of a transactional effect on Postgres. It is of no use once the effect has settled. Its tables are
 * searched in the schema `holdpoint_tools`: name those of others with theirs (`public.orders`).
 */
export interface PostgresTransaction {
  /**
   * One statement with `$1`, `$2`, …. It is sent at once: several may be under way together, and are done in order.
   * Rejects with `TRANSACTION_OVER` and, for COMMIT and its like, `TRANSACTION_ENDED`, having sent nothing.
   */
  readonly query: (text: string, values?: readonly unknown[]) => Promise<Answered>
}

export interface LentTransaction {
  readonly transaction: PostgresTransaction
  readonly end: () => void
}

/** The extended protocol takes one statement, so what it begins with is what it is. */
const ENDS =
  /^(?:begin|start|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction)\b/i
const BLANK = /[\s;]+|--[^\n\r]*/y
const COMMENT_PART = /\/\*|\*\//g

/** The text without what comes before its first word. Comments may hold others. */
function statementOf(text: string): string {
  for (let at = 0; ;) {
    BLANK.lastIndex = at
    if (BLANK.test(text)) at = BLANK.lastIndex
    else if (text.startsWith('/*', at)) at = endOfComment(text, at)
    else return text.slice(at)
  }
}

function endOfComment(text: string, start: number): number {
  COMMENT_PART.lastIndex = start
  let depth = 0
  for (let part = COMMENT_PART.exec(text); part !== null; part = COMMENT_PART.exec(text)) {
    depth += part[0] === '/*' ? 1 : -1
    if (depth === 0) return COMMENT_PART.lastIndex
  }
  return text.length
}

export function lendTransaction(session: Pick<Session, 'once'>): LentTransaction {
  let over = false
  const send = async (text: string, values: readonly unknown[]) => {
    if (over) throw overError()
    if (ENDS.test(statementOf(text))) throw notYours()
    return session.once(text, values)
  }
  return {
    transaction: {
      query: (text, values = []) => {
        const answered = send(text, values)
        // One that nobody awaits fails the whole transaction, and must not bring the process down.
        answered.catch(() => undefined)
        return answered
      },
    },
    end: () => void (over = true),
  }
}

function notYours(): HoldpointError {
  return new HoldpointError(
    'TRANSACTION_ENDED',
    'A transactional effect may not end its transaction, so that was not sent. Leave COMMIT and ROLLBACK to the journal.',
  )
}
