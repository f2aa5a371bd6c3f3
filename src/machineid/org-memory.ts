/** What this client has learnt about the org it asks: who it is, and how far its epoch has come. */
export class OrgMemory {
  #orgId: string | undefined
  #highestEpoch = 0

  constructor(pinnedOrgId: string | undefined) {
    this.#orgId = pinnedOrgId
  }

  /** The pinned org, or the first one seen. */
  get orgId(): string | undefined {
    return this.#orgId
  }

  /** A question that is sent now cannot truthfully be answered from before this. */
  get highestEpoch(): number {
    return this.#highestEpoch
  }

  /** Only for answers that were checked, the org included. */
  saw(orgId: string, orgEpoch: number): void {
    this.#orgId ??= orgId
    if (orgEpoch > this.#highestEpoch) this.#highestEpoch = orgEpoch
  }
}
