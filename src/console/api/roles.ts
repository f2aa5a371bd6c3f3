import type { Session } from './session-state.ts'

// What each kind of key may do, as the control plane has it (control-plane/key-kinds.ts): what somebody may not do is
// not offered. The control plane refuses it all the same.

type Kind = Session['kind']
const may =
  (...kinds: readonly Kind[]) =>
  ({ kind }: Pick<Session, 'kind'>) =>
    kinds.includes(kind)

export const mayReadEvidence = may('viewer', 'operator', 'admin', 'full')
export const mayStop = may('stop', 'operator', 'admin', 'full')
export const mayRestore = may('operator', 'admin', 'full')
/** On calls that wait for a person. */
export const mayDecide = may('operator', 'admin', 'full')
/** The org's switch back on, keys and owners. */
export const mayManage = may('admin', 'full')
