import { mayManage } from '../api/roles.ts'
import { useSession } from '../api/session-state.ts'
import { useCall } from '../api/use-call.ts'
import { Untrusted } from './untrusted.tsx'

/** The key that did something, by its name too for whoever may see the keys. */
export function Who({ by }: { readonly by: string | null }) {
  const session = useSession()
  const { data } = useCall('keys', {}, { enabled: mayManage(session) })
  if (by === null) return <>nobody known</>
  const id = by.slice(by.indexOf(':') + 1)
  const key = data?.keys.find(({ keyId }) => keyId === id)
  const mark = <Untrusted text={key === undefined ? by : `${key.kind}:${id}`} mono />
  if (key === undefined || key.name === null) return mark
  return (
    <>
      <Untrusted text={key.name} /> ({mark})
    </>
  )
}
