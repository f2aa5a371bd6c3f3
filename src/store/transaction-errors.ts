import { HoldpointError } from '../errors.ts'

export function notOurs(): HoldpointError {
  return new HoldpointError(
    'ATTEMPT_LOST',
    'This attempt at the effect is no longer ours, so it wrote nothing. Whether another one did, its outcome says.',
  )
}

export function endedTransaction(): HoldpointError {
  return new HoldpointError(
    'TRANSACTION_ENDED',
    'A transactional effect ended the transaction itself, so its outcome is unknown. Leave COMMIT and ROLLBACK to the journal.',
  )
}

export function overError(): HoldpointError {
  return new HoldpointError(
    'TRANSACTION_OVER',
    'A transactional effect used its transaction after it had returned, and nothing was written. Do all of it before.',
  )
}
