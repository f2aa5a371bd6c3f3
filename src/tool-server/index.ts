// The public entry `holdpoint/tool-server`: host guarded tools and agents of your own over HTTP and MCP.
export type {
  ApprovalDesk,
  ApprovalRequest,
  DeskVerdict,
  ShownApproval,
  ShownCall,
} from '../agents/hosted/approval-desk.ts'
export type { HostedAgent } from '../agents/hosted/hosted-agent.ts'
export type {
  ApprovalBinding,
  ApprovalRecord,
  ApprovalState,
  ApprovalVerdict,
  Claimed,
  Created,
  NewApproval,
  NewRun,
  OperatorEntry,
  RunCounts,
  RunFilter,
  RunProblem,
  RunRecord,
  RunSave,
  RunStatus,
  RunStore,
  StepRecord,
} from '../agents/hosted/run-store.ts'
export {
  RunRefused,
  type ApprovalView,
  type EffectView,
  type OnStep,
  type ResumeRun,
  type RunCaller,
  type RunDecision,
  type RunDetail,
  type RunListFilter,
  type RunRefusalCode,
  type Runs,
  type RunStep,
  type RunView,
  type StartRun,
  type TimelineStep,
} from '../agents/hosted/run-types.ts'
export type { PostgresTransaction } from '../store/postgres/lent-transaction.ts'
export { createPostgresToolStore, type PostgresToolStoreOptions } from '../store/postgres/tool-store.ts'
export { createSqliteToolStore } from '../store/sqlite/tool-store.ts'
export type { Durability, ToolStore } from '../store/tool-store.ts'
export type { RunWatcher, WatchedRun, WatchedStep } from '../agents/hosted/run-watcher.ts'
export { createAuthorityDesk } from './authority-desk.ts'
export type { JournalAbout, ToolServerAbout } from './about.ts'
export {
  callersOf,
  createCallerToken,
  readCallers,
  type Caller,
  type CallerRecord,
  type Callers,
  type Scope,
} from './callers.ts'
export {
  createToolServer,
  type ToolServer,
  type ToolServerOptions,
  type ToolServerRunsOptions,
} from './tool-server.ts'
