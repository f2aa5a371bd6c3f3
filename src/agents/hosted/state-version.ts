import { Agent, RunContext, RunState, UserError } from '@openai/agents'
import { RunRefused } from './run-types.ts'

const nobody = new Agent({ name: 'nobody' })

/** The newest schema that the installed SDK writes. */
export function newestStateVersion(): string {
  return new RunState(new RunContext(undefined), '', nobody, 1).toJSON().$schemaVersion
}

/** Throws `RUN_STATE_VERSION`, naming both versions, for a state that the installed SDK cannot read. */
export async function requireReadableVersion(runId: string, stateText: string): Promise<void> {
  const { $schemaVersion: version } = JSON.parse(stateText) as { $schemaVersion?: unknown }
  if (await isReadable(version)) return
  throw new RunRefused(
    'RUN_STATE_VERSION',
    `The state of run ${runId} has schema version ${String(version)}; the installed @openai/agents writes ` +
      `${newestStateVersion()} and cannot read it. Resume the run with the version that wrote it, or cancel it.`,
  )
}

/** The SDK looks at the version first, and at an empty state of a version it knows only then. */
async function isReadable(version: unknown): Promise<boolean> {
  try {
    await RunState.fromString(nobody, JSON.stringify({ $schemaVersion: version }))
    return true
  } catch (error) {
    return !(error instanceof UserError)
  }
}
