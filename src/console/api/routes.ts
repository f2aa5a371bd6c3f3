import type { CALLS, Call, CallInput, CallOutput } from '../../machineid/calls.ts'
import { PATHS } from '../../machineid/paths.ts'

// Where each call is. What it takes and answers is known to the compiler alone: the schemas stay on the server.

export type CallName = keyof typeof CALLS
export type Input<N extends CallName> = CallInput<(typeof CALLS)[N]>
export type Output<N extends CallName> = CallOutput<(typeof CALLS)[N]>

interface Route {
  readonly method: Call['method']
  readonly path: string
}
const get = (path: string): Route => ({ method: 'GET', path })
const post = (path: string): Route => ({ method: 'POST', path })

/** The same as `CALLS`, which a test holds it against. */
export const ROUTES: { readonly [N in CallName]: Route } = {
  devices: get(PATHS.list),
  register: post(PATHS.register),
  revoke: post(PATHS.revoke),
  revokeBatch: post(PATHS.revokeBatch),
  unrevoke: post(PATHS.unrevoke),
  unrevokeBatch: post(PATHS.unrevokeBatch),
  remove: post(PATHS.remove),
  locks: get(PATHS.locks),
  lock: post(PATHS.locks),
  lockRelease: post(PATHS.lockRelease),
  usage: get(PATHS.usage),
  orgDisable: post(PATHS.orgDisable),
  orgEnable: post(PATHS.orgEnable),
  orgPlan: post(PATHS.orgPlan),
  owners: get(PATHS.orgOwners),
  ownersChange: post(PATHS.orgOwners),
  keys: get(PATHS.keys),
  keyCreate: post(PATHS.keys),
  keyRotate: post(PATHS.keyRotate),
  keyBurn: post(PATHS.keyBurn),
  decisions: get(PATHS.decisions),
  decisionRates: get(PATHS.decisionRates),
  audit: get(PATHS.audit),
  auditVerify: get(PATHS.auditVerify),
  replicas: get(PATHS.replicas),
  stopHistory: get(PATHS.stopHistory),
  stopSet: get(PATHS.stopSet),
  drills: get(PATHS.drills),
  drill: get(PATHS.drill),
  drillStore: post(PATHS.drills),
  drillCut: post(PATHS.drillCut),
  drillRun: get(PATHS.drillRun),
  drillRunStart: post(PATHS.drillRun),
  signingKey: get(PATHS.signingKey),
  approvals: get(PATHS.approvals),
  approval: get(PATHS.approval),
  approvalDecide: post(PATHS.approvalDecide),
  runs: get(PATHS.runs),
  run: get(PATHS.run),
  unknownEffects: get(PATHS.unknownEffects),
  session: get(PATHS.session),
  sessionStart: post(PATHS.session),
  sessionRefresh: post(PATHS.sessionRefresh),
  sessionEnd: post(PATHS.sessionEnd),
  diagnosis: get(PATHS.diagnosis),
}
