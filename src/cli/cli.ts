import type { Command } from 'commander'

import type { OperatorClient } from './operator-client.ts'
import type { ToolServerClient } from './tool-server-client.ts'

/** 0 ok, 1 error, 2 usage, 3 denied: by the authority, or because a stop did not hold. 130 after Ctrl-C. */
export const EXIT = { ok: 0, error: 1, usage: 2, denied: 3, interrupted: 130 } as const

/** What a command needs of the key it is made with. The least of the keys at hand that may do it is taken. */
export type Need = 'see' | 'evidence' | 'stop' | 'restore' | 'manage' | 'platform'

/** What every command works with. Made once, by `runCli`. */
export interface Cli {
  /**
   * The result, to standard output: the JSON with `--json`, else the lines. Nothing else goes to standard output. Keys
   * in the lines are blotted out; a new one that is to be seen once is the `secret`, on a line of its own.
   */
  show(result: {
    readonly json: unknown
    readonly text: string | (() => string)
    readonly secret?: string | undefined
  }): void
  /** A line of a stream that goes on, such as `tail`. */
  line(result: { readonly json: unknown; readonly text: string }): void
  /** To standard error: what is being done, for anything longer than a second. Silent with `--json` or without a terminal. */
  progress(text: string): { update(text: string): void; end(): void }
  /** To standard error: a warning or a hint. */
  note(text: string): void
  /** True with `--yes`, or when a person said yes. Throws `CliError` (usage) where there is nobody to ask. */
  confirm(question: string): Promise<boolean>
  /** Whether `--yes` was given: then nothing need be looked up for a question. */
  readonly isSure: boolean
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  /** For people: colour only on a terminal and without NO_COLOR. */
  readonly paint: Paint
  /** Columns of the terminal; undefined when piped. */
  readonly columns: number | undefined
  readonly isJson: boolean
  /** The control plane, with the least key that may. Throws `CliError` when there is none at hand. */
  operator(need: Need): OperatorClient
  /** The tool servers: `--tool-server URL` (repeatable), else TOOL_SERVER_URL, else the one on this machine. */
  toolServers(): readonly ToolServerClient[]
  readonly dataDir: string
  /** CALLER_TOKENS_FILE. */
  readonly callerTokensFile: string | undefined
  readonly nowMs: () => number
}

export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
}

/** Adds commands to `program`. Nothing is asked or opened before one of them runs. */
export type Commands = (program: Command, cli: () => Cli) => void
