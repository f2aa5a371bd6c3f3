import type { z } from 'zod'

import type { DrillsResponse, SignedDrillBody } from '../../machineid/wire-drills.ts'

/** What a list shows of a drill. */
export type DrillSummary = z.infer<typeof DrillsResponse>['drills'][number]

/** The key that signs an org's drills. Both in base64url: SPKI, and PKCS #8, which never leaves the store but to sign. */
export interface SigningKeyRecord {
  readonly publicKey: string
  readonly privateKey: string
}

export interface DrillStore {
  /** Stored as signed. False when the org has a drill of that id already: nothing is changed then. */
  saveDrill(orgId: string, drill: SignedDrillBody, atMs: number): Promise<boolean>
  /** Newest first, from the first older than `before` (a drill id of that org). */
  listDrills(
    orgId: string,
    page: { readonly before?: string | undefined; readonly limit: number },
  ): Promise<readonly DrillSummary[]>
  findDrill(orgId: string, drillId: string): Promise<SignedDrillBody | undefined>
  /** That of the org; `made` becomes it when it has none. */
  signingKey(orgId: string, made: SigningKeyRecord): Promise<SigningKeyRecord>
}
