export { guardAgent, type GuardAgentOptions } from './agents/guard-agent.ts'
export { GuardDeniedError } from './agents/guard-denied.ts'
export { guardResponse, type GuardedOutput, type GuardResponseOptions } from './agents/guard-response.ts'
export { guardTool, type GuardToolOptions } from './agents/guard-tool.ts'
export { guardedTool, guardedToolCore, isGuarded } from './agents/guarded-tool.ts'
export type { ApprovalDecision, PendingApproval } from './agents/pending-approvals.ts'
export { resumeAgent, type ResumeAgentOptions } from './agents/resume-agent.ts'
export { runAgent, type AgentRun, type RunAgentOptions } from './agents/run-agent.ts'
export { serializeState } from './agents/run-state-text.ts'
export type { GuardedToolCore, OnDenied, RefusalBody, ToolAnswer, ToolCall } from './agents/tool-answer.ts'
export type {
  GuardedToolOptions,
  OneEffectToolOptions,
  ReadOnlyToolOptions,
  SeveralEffectsToolOptions,
  ToolSurface,
  ToolWork,
} from './agents/tool-options.ts'
export { ConfigError } from './config.ts'
export { GuardMisconfiguredError, HoldpointError } from './errors.ts'
export type { Answer, Authority, DeviceDecision, Question, Registration } from './guard/authority.ts'
export type { CallOutcome, CallRequest, EffectReport } from './guard/call.ts'
export type { Committed } from './guard/commit.ts'
export type { DeclaredEffects, EffectFunctions } from './guard/declared-effects.ts'
export type { Allowed, Boundary, Decision, Denied, DenialCode } from './guard/decision.ts'
export {
  defineEffect,
  EffectNotPerformed,
  notSent,
  type Effect,
  type EffectContext,
  type EffectKind,
  type EffectOptions,
  type EffectSurfaces,
  type Reconciled,
} from './guard/effect.ts'
export type { GuardEvent, GuardListener } from './guard/events.ts'
export { createGuard, type Guard, type GuardOptions, type HoldPoint } from './guard/guard.ts'
export type { Begun, Intent, Journal, JournalEntry, Outcome } from './guard/journal.ts'
export { createMemoryJournal } from './guard/memory-journal.ts'
export type { Permit } from './guard/permit.ts'
export { CallRefusedError, type Refusal } from './guard/refusal.ts'
export type { SurfaceChoice } from './guard/surface-choice.ts'
export type { Surface, SurfaceOptions } from './guard/surface.ts'
export { createLogger, type Logger } from './log.ts'
export { MachineID } from './machineid/client.ts'
export type { MachineIDOptions, Profile } from './machineid/options.ts'
export { startGuard, type StartGuardOptions } from './start-guard.ts'
export { StartupDenied } from './startup-denied.ts'
export { createSqliteJournal } from './store/sqlite/journal.ts'
export { remoteTools } from './tool-server/remote-tools.ts'
