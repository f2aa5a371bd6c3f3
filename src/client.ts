// The public entry `holdpoint/client`: the client of the authority alone, without agents, guard and servers.
export { GuardMisconfiguredError, HoldpointError } from './errors.ts'
export type {
  Answer,
  Answered,
  DeviceDecision,
  Question,
  Registration,
  Unanswered,
} from './guard/authority.ts'
export type { Boundary, DenialCode } from './guard/decision.ts'
export {
  MachineID,
  type ChangeOptions,
  type RegisterOptions,
  type RestoreOptions,
} from './machineid/client.ts'
export type { CallOptions, Result } from './machineid/management.ts'
export type { Changed, DeviceList, Registered, Usage } from './machineid/management-values.ts'
export type { Environment, MachineIDOptions, Profile } from './machineid/options.ts'
export type { ValidateOptions, ValidateResult } from './machineid/validate.ts'
