/** What operators are told of how a tool server was put together. Never a secret. */
export interface ToolServerAbout {
  /** How the authority is asked: `holdpoint` or `machineid`. Default `custom`. */
  readonly profile?: string | undefined
  /** Where the authority is, for example `https://machineid.example.com`. */
  readonly origin?: string | undefined
  readonly journal?: JournalAbout | undefined
}

/** What the journal is kept in. */
export interface JournalAbout {
  /** `sqlite`, `memory`, … Default `custom`. */
  readonly kind: string
  /** As its database says them of itself. */
  readonly journalMode?: string | undefined
  readonly synchronous?: string | undefined
}
