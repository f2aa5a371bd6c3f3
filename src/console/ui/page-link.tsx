import { Anchor } from '@mantine/core'
import type { ReactNode } from 'react'
import { Link } from 'wouter'

/** A link to another page of the console. Parts of `to` that somebody else wrote go through `encodeURIComponent`. */
export function PageLink({ to, children }: { readonly to: string; readonly children: ReactNode }) {
  return (
    <Anchor component={Link} href={to} className="page-link" inherit>
      {children}
    </Anchor>
  )
}
