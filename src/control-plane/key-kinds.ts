import type { KeyKind } from '../machineid/wire.ts'

// Which kinds of keys may do what. Stopping is easy, restoring is hard: a stop key may not take back what it did.

export const MAY_SEE: readonly KeyKind[] = ['viewer', 'stop', 'operator', 'admin', 'full']
/** The audit, decisions, and the feed of both. */
export const MAY_READ_EVIDENCE: readonly KeyKind[] = ['viewer', 'operator', 'admin', 'full']
export const MAY_STOP: readonly KeyKind[] = ['stop', 'operator', 'admin', 'full']
export const MAY_RESTORE: readonly KeyKind[] = ['operator', 'admin', 'full']
/** The org's switch, keys and owners. */
export const MAY_MANAGE: readonly KeyKind[] = ['admin', 'full']
