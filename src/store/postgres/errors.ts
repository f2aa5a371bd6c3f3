import { DatabaseError } from 'pg'

import { HoldpointError, messageOf } from '../../errors.ts'

type Known = readonly [code: string, problem: string, next: string]

const DOWN: Known = [
  'STORE_UNREACHABLE',
  'does not answer',
  'Is Postgres running, and may it be reached from here?',
]
const STANDBY: Known = [
  'STORE_IN_RECOVERY',
  'is a standby, or recovering, and its answers may be old',
  'Let the URL lead to the primary.',
]

const NO_TLS: Known = [
  'STORE_UNREACHABLE',
  'does not speak TLS',
  'Set ssl=on there, or, on a network that nobody else is on, sslmode=disable in the URL.',
]
const BAD_CERTIFICATE: Known = [
  'STORE_UNREACHABLE',
  'shows a certificate that does not count here',
  'Give the URL the authority that signed it (sslrootcert=FILE), and the name that it is for.',
]

/** SQLSTATE codes that we tell apart; of those that are not here, the class (the first two characters) is looked up. */
const SQLSTATES: Readonly<Record<string, Known>> = {
  '08': DOWN,
  '57P01': DOWN,
  '57P02': DOWN,
  '57P03': DOWN,
  '57P05': DOWN,
  '53300': [
    'STORE_UNREACHABLE',
    'takes no more connections',
    'Raise its max_connections, or lower DATABASE_POOL_SIZE.',
  ],
  '25006': STANDBY,
  '28': [
    'STORE_REFUSED',
    'did not let us in',
    'Check the user and the password of the URL, and pg_hba.conf.',
  ],
  '3D000': [
    'STORE_REFUSED',
    'does not exist',
    'Create it: CREATE DATABASE …; tables are made by the program itself.',
  ],
  '42501': ['STORE_REFUSED', 'does not let its user do this', 'Make that user the owner of the database.'],
  '53100': ['STORE_FULL', 'has no room left on its disk', 'Free space there.'],
  '57014': ['STORE_TIMEOUT', 'took too long', 'Look for what keeps it busy: pg_stat_activity.'],
  '25P03': ['STORE_TIMEOUT', 'waited too long for this program', 'Look for what keeps this machine busy.'],
  '55P03': ['STORE_BUSY', 'is kept busy by another change', 'Ask again.'],
  '40': ['STORE_BUSY', 'is kept busy by another change', 'Ask again.'],
}

/** Of the client, where the server said nothing. */
const CERTIFICATES = /^(?:ERR_TLS_CERT|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:GET|VERIFY)_)/
const TIMEOUTS = /timeout/i

/**
 * What Postgres, the driver or the network threw, as an error that names the database and the next step; never the URL,
 * which holds a password.
 */
export function storeError(thrown: unknown, database: string): HoldpointError {
  if (thrown instanceof HoldpointError) return thrown
  const [code, problem, next] = known(thrown)
  return new HoldpointError(code, `The database ${database} ${problem} (${messageOf(thrown)}). ${next}`, {
    cause: thrown,
  })
}

/** COMMIT was sent, and nobody knows what became of it. */
export function outcomeUnknown(thrown: unknown, database: string): HoldpointError {
  return new HoldpointError(
    'STORE_OUTCOME_UNKNOWN',
    `The database ${database} did not confirm a change (${messageOf(thrown)}): it may be done or not. Look, and ask again.`,
    { cause: thrown },
  )
}

function known(thrown: unknown): Known {
  const state = thrown instanceof DatabaseError ? thrown.code : undefined
  if (state !== undefined) {
    return (
      SQLSTATES[state] ??
      SQLSTATES[state.slice(0, 2)] ?? ['STORE_FAILED', 'could not be used', 'The log of Postgres says more.']
    )
  }
  if (!(thrown instanceof Error)) return DOWN
  if (thrown.message.includes('does not support SSL')) return NO_TLS
  if (CERTIFICATES.test(String((thrown as NodeJS.ErrnoException).code))) return BAD_CERTIFICATE
  if (TIMEOUTS.test(thrown.message)) return [DOWN[0], 'did not answer in time', DOWN[2]]
  return DOWN
}

/** Whether the connection it came by can be used for something else: Postgres refused one statement, and goes on. */
export function isRefusedStatement(thrown: unknown): boolean {
  return thrown instanceof DatabaseError && !/^(?:08|57P|25006|XX)/.test(thrown.code ?? '08')
}

/** SQLSTATE of what Postgres refused; also of an error that tells of it. */
function stateOf(thrown: unknown): string | undefined {
  if (thrown instanceof DatabaseError) return thrown.code
  return thrown instanceof HoldpointError && thrown.cause !== undefined ? stateOf(thrown.cause) : undefined
}

/** 40001 and 40P01: gave way to another transaction. 23505: another one has made what was not there before. */
const GAVE_WAY = new Set(['40001', '40P01', '23505'])

/** Whether a transaction, of which nothing is left, can end otherwise when it is begun anew. */
export function mayTryAgain(thrown: unknown): boolean {
  return (
    thrown instanceof HoldpointError &&
    thrown.code !== 'STORE_OUTCOME_UNKNOWN' &&
    GAVE_WAY.has(stateOf(thrown) ?? '')
  )
}
