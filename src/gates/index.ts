// The public entry `holdpoint/gates`: hold points for work that no agent does: loops, jobs, consumers, webhooks. With what
// such work needs of `holdpoint` itself, so that a worker need not load the Agents SDK.
export { GuardMisconfiguredError, HoldpointError } from '../errors.ts'
export type { EffectReport } from '../guard/call.ts'
export type { Committed } from '../guard/commit.ts'
export type { DeclaredEffects, EffectFunctions } from '../guard/declared-effects.ts'
export {
  defineEffect,
  EffectNotPerformed,
  notSent,
  type Effect,
  type EffectContext,
  type EffectKind,
  type EffectOptions,
  type Reconciled,
} from '../guard/effect.ts'
export type { GuardEvent, GuardListener } from '../guard/events.ts'
export type { Guard } from '../guard/guard.ts'
export { CallRefusedError, type Refusal } from '../guard/refusal.ts'
export type { SurfaceChoice } from '../guard/surface-choice.ts'
export type { Surface, SurfaceOptions } from '../guard/surface.ts'
export { startGuard, type StartGuardOptions } from '../start-guard.ts'
export { StartupDenied } from '../startup-denied.ts'
export { commitSideEffect, type CommitSideEffectOptions } from './commit-side-effect.ts'
export type {
  ConsumerEnd,
  GivenBack,
  GuardedConsumer,
  GuardedConsumerOptions,
  UnknownOutcome,
} from './consumer-options.ts'
export { guardedConsumer } from './consumer.ts'
export type { OnGateDenied } from './denial.ts'
export type { AlertBody, AlertData, AlertKind, AlertStatus } from './alert.ts'
export { createAlerts, type Alerts, type AlertsOptions } from './alerts.ts'
export type { DeclaredIn, EffectsOrNone } from './effects.ts'
export type { ProcessLife } from './end-signal.ts'
export { guardedJob, type GuardedJob, type GuardedJobOptions, type OnJobDenied } from './job.ts'
export { guardedLoop } from './loop.ts'
export type {
  FailedUnit,
  GuardedLoop,
  GuardedLoopOptions,
  LoopEnd,
  LoopUnits,
  UnknownUnit,
} from './loop-options.ts'
export type { Place } from './place.ts'
export { startupGate, type StartupGateOptions } from './startup.ts'
export type { UnfinishedOutcome, UnitOutcome, UnitWork } from './unit.ts'
export { webhookGate, type WebhookGateOptions, type WebhookHandler } from './webhook.ts'
export type { IncomingDelivery, WebhookRequest } from './webhook-body.ts'
