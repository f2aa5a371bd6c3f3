import type { Output } from '../api/routes.ts'
import { Untrusted } from './untrusted.tsx'
import { When } from './when.tsx'
import { Who } from './who.tsx'

/** Who switched it off, when, and why. */
export function OrgStop({ org }: { readonly org: Output<'usage'>['org'] }) {
  return (
    <>
      Disabled by <Who by={org.by} /> <When at={org.since} />
      {org.reason === null ? ', without a reason.' : ': '}
      {org.reason !== null && <Untrusted text={org.reason} />}
    </>
  )
}
