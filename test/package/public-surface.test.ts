import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

import { createUserProject } from '../docs/user-project.ts'

const SRC = join(import.meta.dirname, '../../src')

describe('the public surface changes only on purpose', () => {
  test('holdpoint: values', () => {
    expect(exportsOf('index.ts').values).toMatchInlineSnapshot(`
      [
        "CallRefusedError",
        "ConfigError",
        "EffectNotPerformed",
        "GuardDeniedError",
        "GuardMisconfiguredError",
        "HoldpointError",
        "MachineID",
        "StartupDenied",
        "createGuard",
        "createLogger",
        "createMemoryJournal",
        "createSqliteJournal",
        "defineEffect",
        "guardAgent",
        "guardResponse",
        "guardTool",
        "guardedTool",
        "guardedToolCore",
        "isGuarded",
        "notSent",
        "remoteTools",
        "resumeAgent",
        "runAgent",
        "serializeState",
        "startGuard",
      ]
    `)
  })

  test('holdpoint: types', () => {
    expect(exportsOf('index.ts').types).toMatchInlineSnapshot(`
      [
        "AgentRun",
        "Allowed",
        "Answer",
        "ApprovalDecision",
        "Authority",
        "Begun",
        "Boundary",
        "CallOutcome",
        "CallRequest",
        "Committed",
        "Decision",
        "DeclaredEffects",
        "DenialCode",
        "Denied",
        "DeviceDecision",
        "Effect",
        "EffectContext",
        "EffectFunctions",
        "EffectKind",
        "EffectOptions",
        "EffectReport",
        "Guard",
        "GuardAgentOptions",
        "GuardOptions",
        "GuardResponseOptions",
        "GuardToolOptions",
        "GuardedOutput",
        "GuardedToolCore",
        "GuardedToolOptions",
        "HoldPoint",
        "Intent",
        "Journal",
        "JournalEntry",
        "Logger",
        "MachineIDOptions",
        "OnDenied",
        "OneEffectToolOptions",
        "Outcome",
        "PendingApproval",
        "Permit",
        "Profile",
        "Question",
        "ReadOnlyToolOptions",
        "Reconciled",
        "Refusal",
        "RefusalBody",
        "Registration",
        "ResumeAgentOptions",
        "RunAgentOptions",
        "SeveralEffectsToolOptions",
        "StartGuardOptions",
        "Surface",
        "SurfaceOptions",
        "ToolAnswer",
        "ToolCall",
        "ToolWork",
      ]
    `)
  })

  test('holdpoint/tool-server: values', () => {
    expect(exportsOf('tool-server/index.ts').values).toMatchInlineSnapshot(`
      [
        "RunRefused",
        "callersOf",
        "createAuthorityDesk",
        "createCallerToken",
        "createPostgresToolStore",
        "createSqliteToolStore",
        "createToolServer",
        "readCallers",
      ]
    `)
  })

  test('holdpoint/tool-server: types', () => {
    expect(exportsOf('tool-server/index.ts').types).toMatchInlineSnapshot(`
      [
        "ApprovalBinding",
        "ApprovalDesk",
        "ApprovalRecord",
        "ApprovalRequest",
        "ApprovalState",
        "ApprovalVerdict",
        "ApprovalView",
        "Caller",
        "CallerRecord",
        "Callers",
        "Claimed",
        "Created",
        "DeskVerdict",
        "Durability",
        "EffectView",
        "HostedAgent",
        "JournalAbout",
        "NewApproval",
        "NewRun",
        "OnStep",
        "OperatorEntry",
        "PostgresToolStoreOptions",
        "PostgresTransaction",
        "ResumeRun",
        "RunCaller",
        "RunCounts",
        "RunDecision",
        "RunDetail",
        "RunFilter",
        "RunListFilter",
        "RunProblem",
        "RunRecord",
        "RunRefusalCode",
        "RunSave",
        "RunStatus",
        "RunStep",
        "RunStore",
        "RunView",
        "RunWatcher",
        "Runs",
        "Scope",
        "ShownApproval",
        "ShownCall",
        "StartRun",
        "StepRecord",
        "TimelineStep",
        "ToolServer",
        "ToolServerAbout",
        "ToolServerOptions",
        "ToolServerRunsOptions",
        "ToolStore",
        "WatchedRun",
        "WatchedStep",
      ]
    `)
  })

  test.each(['holdpoint', 'holdpoint/tool-server'])(
    '%s exports what its entry says, and nothing else',
    async (name) => {
      const entry = name === 'holdpoint' ? 'index.ts' : 'tool-server/index.ts'
      expect(Object.keys(await import(name)).sort()).toEqual(exportsOf(entry).values)
    },
  )
})

test.each(['holdpoint', 'holdpoint/tool-server'])(
  'nothing happens on import of %s',
  (name) => {
    using user = createUserProject()
    user.write(
      'program.js',
      `// Node opens these when they are first looked at, which the SDK does.
    void [process.stdin, process.stdout, process.stderr]
    const handles = () => process.getActiveResourcesInfo()
    const listeners = () => process.eventNames().map((name) => [name, process.listenerCount(name)])
    const handlesBefore = handles()
    // The Agents SDK listens for signals as soon as it is imported. We must add nothing to that.
    await import('@openai/agents')
    const before = { handles: handlesBefore, listeners: listeners() }
    await import('${name}')
    process.stdout.write(JSON.stringify([before, { handles: handles(), listeners: listeners() }]))`,
    )
    const files = readdirSync(user.dir)
    const args = ['--conditions=holdpoint-source', 'program.js']
    const options = {
      cwd: user.dir,
      env: { PATH: process.env['PATH'] },
      encoding: 'utf8',
      timeout: 20_000,
      killSignal: 'SIGKILL',
    } as const
    const { status, stdout, stderr } = spawnSync(process.execPath, args, options)
    expect(stderr).toBe('')
    const [before, after] = JSON.parse(stdout) as unknown[]
    expect(after).toEqual(before)
    // Nothing keeps it alive.
    expect(status).toBe(0)
    expect(readdirSync(user.dir)).toEqual(files)
  },
  60_000,
)

/** What the statements `export { a, type B } from '…'` of an entry name. */
function exportsOf(entry: string): { readonly values: readonly string[]; readonly types: readonly string[] } {
  const text = readFileSync(join(SRC, entry), 'utf8').replaceAll(/^\/\/.*$/gm, '')
  const values: string[] = []
  const types: string[] = []
  for (const [, typeOnly, list = ''] of text.matchAll(/export (type )?\{([^}]*)\} from '[^']+'/g)) {
    for (const item of list
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean)) {
      const isType = typeOnly !== undefined || item.startsWith('type ')
      ;(isType ? types : values).push(item.replace(/^type /, ''))
    }
  }
  return { values: values.sort(), types: types.sort() }
}
