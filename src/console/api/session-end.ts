import type { Input } from './routes.ts'
import { call } from './call.ts'
import { tellOtherTabs } from './other-tabs.ts'
import { setSession } from './session-state.ts'

export type SessionScope = NonNullable<Input<'sessionEnd'>['scope']>

/** Signs out. Throws `ApiError` when it is not known to have worked. Answers how many sessions it ended. */
export async function endSession(scope: SessionScope): Promise<number> {
  const { ended } = await call('sessionEnd', { scope })
  setSession({ is: 'signed_out' })
  tellOtherTabs()
  return ended
}
