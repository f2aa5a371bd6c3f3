import { Alert, Anchor, Stack, Text } from '@mantine/core'
import type { ReactNode } from 'react'
import { Link } from 'wouter'

/** What somebody is told who has just stopped something: that it is stopped, and where it is seen to be. */
export function AfterStop({
  epochs,
  moved,
  children,
}: {
  /** One for each call that stopped something. */
  readonly epochs: readonly number[]
  readonly moved: boolean
  readonly children: ReactNode
}) {
  const [first, ...others] = epochs
  if (first === undefined) return null
  const last = others.at(-1)
  return (
    <Stack gap="xs">
      <Text size="sm" component="div">
        {children}{' '}
        {last === undefined
          ? `It holds since epoch ${first}.`
          : `It took ${epochs.length} calls: they hold since epochs ${first} to ${last}.`}
      </Text>
      {moved && (
        <Alert color="orange" variant="outline" title="Something else was changed meanwhile.">
          <Text size="sm">
            Between the preview and this stop, somebody else stopped or restored something, so that it may
            have hit other devices than were shown.
          </Text>
        </Alert>
      )}
      <Anchor component={Link} href={last === undefined ? `/stops/${first}` : '/stops'} size="sm">
        See which replicas have confirmed it
      </Anchor>
    </Stack>
  )
}
