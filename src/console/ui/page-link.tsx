import { Anchor } from '@mantine/core'
import type { ReactNode } from 'react'
import { Link } from 'wouter'

/** A link to another page of the console. Parts of `to` that somebody else wrote go through `encodeURIComponent`. */
export function PageLink({
  to,
  children,
  label,
}: {
  readonly to: string
  readonly children: ReactNode
  /** Said instead of `children`, which it begins with. */
  readonly label?: string
}) {
  return (
    <Anchor component={Link} href={to} className="page-link" inherit aria-label={label}>
      {children}
    </Anchor>
  )
}
