import type { ControlPlaneStore } from '../control-plane/store.ts'

// The parts that both stores are put together of.

/** What is read outside of changes. */
export type ControlPlaneReads = Pick<
  ControlPlaneStore,
  | 'findKey'
  | 'listKeys'
  | 'countOrgs'
  | 'listOrgs'
  | 'findUsage'
  | 'listDevices'
  | 'listLocks'
  | 'locksOn'
  | 'listOwners'
  | 'findOrgsOwnedBy'
  | 'findLink'
  | 'plansEnded'
  | 'keysEnded'
  | 'stopsOverdue'
>

/** The audit chain, to be read, and the decisions. */
export type ControlPlaneEvidence = Pick<
  ControlPlaneStore,
  | 'listAudit'
  | 'searchAudit'
  | 'auditHead'
  | 'findAudit'
  | 'recordDecisions'
  | 'listDecisions'
  | 'pruneDecisions'
  | 'pruneLinks'
>
