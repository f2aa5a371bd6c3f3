import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const SRC = join(import.meta.dirname, '../../src')
const ENTRIES = [
  { name: 'holdpoint', entry: 'index.ts' },
  { name: 'holdpoint/client', entry: 'client.ts' },
  { name: 'holdpoint/gates', entry: 'gates/index.ts' },
  { name: 'holdpoint/tool-server', entry: 'tool-server/index.ts' },
  { name: 'holdpoint/control-plane', entry: 'control-plane/index.ts' },
]
const MANIFEST = JSON.parse(readFileSync(join(SRC, '../package.json'), 'utf8')) as {
  readonly exports: Readonly<Record<string, unknown>>
}

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
        "EffectSurfaces",
        "Guard",
        "GuardAgentOptions",
        "GuardEvent",
        "GuardListener",
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
        "SurfaceChoice",
        "SurfaceOptions",
        "ToolAnswer",
        "ToolCall",
        "ToolSurface",
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

  test('holdpoint/client: values', () => {
    expect(exportsOf('client.ts').values).toMatchInlineSnapshot(`
      [
        "GuardMisconfiguredError",
        "HoldpointError",
        "MachineID",
      ]
    `)
  })

  test('holdpoint/client: types', () => {
    expect(exportsOf('client.ts').types).toMatchInlineSnapshot(`
      [
        "Answer",
        "Answered",
        "Boundary",
        "CallOptions",
        "ChangeOptions",
        "Changed",
        "DenialCode",
        "DeviceDecision",
        "DeviceList",
        "Environment",
        "MachineIDOptions",
        "Profile",
        "Question",
        "RegisterOptions",
        "Registered",
        "Registration",
        "RestoreOptions",
        "Result",
        "Unanswered",
        "Usage",
        "ValidateOptions",
        "ValidateResult",
      ]
    `)
  })

  test('holdpoint/gates: values', () => {
    expect(exportsOf('gates/index.ts').values).toMatchInlineSnapshot(`
      [
        "CallRefusedError",
        "EffectNotPerformed",
        "GuardMisconfiguredError",
        "HoldpointError",
        "StartupDenied",
        "commitSideEffect",
        "createAlerts",
        "defineEffect",
        "guardedConsumer",
        "guardedJob",
        "guardedLoop",
        "notSent",
        "startGuard",
        "startupGate",
        "webhookGate",
      ]
    `)
  })

  test('holdpoint/gates: types', () => {
    expect(exportsOf('gates/index.ts').types).toMatchInlineSnapshot(`
      [
        "AlertBody",
        "AlertData",
        "AlertKind",
        "AlertStatus",
        "Alerts",
        "AlertsOptions",
        "CommitSideEffectOptions",
        "Committed",
        "ConsumerEnd",
        "DeclaredEffects",
        "DeclaredIn",
        "Effect",
        "EffectContext",
        "EffectFunctions",
        "EffectKind",
        "EffectOptions",
        "EffectReport",
        "EffectsOrNone",
        "FailedUnit",
        "GivenBack",
        "Guard",
        "GuardEvent",
        "GuardListener",
        "GuardedConsumer",
        "GuardedConsumerOptions",
        "GuardedJob",
        "GuardedJobOptions",
        "GuardedLoop",
        "GuardedLoopOptions",
        "IncomingDelivery",
        "LoopEnd",
        "LoopUnits",
        "OnGateDenied",
        "OnJobDenied",
        "Place",
        "ProcessLife",
        "Reconciled",
        "Refusal",
        "StartGuardOptions",
        "StartupGateOptions",
        "Surface",
        "SurfaceChoice",
        "SurfaceOptions",
        "UnfinishedOutcome",
        "UnitOutcome",
        "UnitWork",
        "UnknownOutcome",
        "UnknownUnit",
        "WebhookGateOptions",
        "WebhookHandler",
        "WebhookRequest",
      ]
    `)
  })

  test('holdpoint/control-plane: values', () => {
    expect(exportsOf('control-plane/index.ts').values).toMatchInlineSnapshot(`
      [
        "HoldpointError",
        "startControlPlane",
      ]
    `)
  })

  test('holdpoint/control-plane: types', () => {
    expect(exportsOf('control-plane/index.ts').types).toMatchInlineSnapshot(`
      [
        "RunningControlPlane",
        "StartControlPlaneOptions",
      ]
    `)
  })

  test.each(ENTRIES)('$name exports what its entry says, and nothing else', async ({ name, entry }) => {
    expect(Object.keys(await import(name)).sort()).toEqual(exportsOf(entry).values)
  })

  test('there is no other way in', () => {
    const names = Object.keys(MANIFEST.exports).map((path) => path.replace('.', 'holdpoint'))
    expect(names).toEqual([...ENTRIES.map(({ name }) => name), 'holdpoint/package.json'])
    for (const { name, entry } of ENTRIES) {
      const built = `./dist/src/${entry.replace(/\.ts$/, '')}`
      expect(MANIFEST.exports[name.replace('holdpoint', '.')]).toEqual({
        'holdpoint-source': `./src/${entry}`,
        types: `${built}.d.ts`,
        default: `${built}.js`,
      })
    }
  })
})

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
