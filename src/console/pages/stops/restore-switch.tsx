import { Button, Stack, Text } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'

import type { StopBody } from '../../../machineid/wire-stops.ts'
import { call } from '../../api/call.ts'
import { mayManage, mayRestore } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { focusTitle } from '../../ui/focus-title.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'

/** Takes back the lock that a stop set, where that very stop still holds. */
export function RestoreLock({ stop }: { readonly stop: StopBody }) {
  const locks = useCall('locks', {})
  const { pattern } = stop
  return (
    <Answer of={locks}>
      {({ locks: all }) => {
        const lock = all.find((one) => one.pattern === pattern)
        return (
          <RestoreOne
            heldBy={lock?.epoch}
            epoch={stop.epoch}
            over="This lock is released by now: there is nothing to restore."
            label="Release the lock …"
            title="Release the lock"
            confirm="Release the lock"
            may="operator"
            submit={(reason) => call('lockRelease', { id: lock?.lockId ?? '', ifEpoch: lock?.epoch, reason })}
          >
            <Text size="sm">
              Devices that match <Untrusted text={pattern ?? ''} mono /> are allowed again, but those that are
              revoked, or that another lock or the org itself stops.
            </Text>
          </RestoreOne>
        )
      }}
    </Answer>
  )
}

/** Enables the org, where that very stop still holds it. */
export function RestoreOrg({ stop }: { readonly stop: StopBody }) {
  const usage = useCall('usage', {})
  return (
    <Answer of={usage}>
      {({ org }) => (
        <RestoreOne
          heldBy={org.disabled ? org.epoch : undefined}
          epoch={stop.epoch}
          over="The org is enabled by now: there is nothing to restore."
          label="Enable the org …"
          title="Enable the org"
          confirm="Enable the org"
          may="admin"
          submit={(reason) => call('orgEnable', { ifEpoch: org.epoch, reason })}
        >
          <Text size="sm">
            Every device goes on as it was before: revoked and locked ones stay denied, all others are
            allowed.
          </Text>
        </RestoreOne>
      )}
    </Answer>
  )
}

/** A stop that was one switch. */
function RestoreOne({
  heldBy,
  epoch,
  over,
  label,
  title,
  confirm,
  may,
  submit,
  children,
}: {
  /** The epoch of the stop that holds it now; undefined where none does. */
  readonly heldBy: number | undefined
  readonly epoch: number
  readonly over: string
  readonly label: string
  readonly title: string
  readonly confirm: string
  readonly may: 'operator' | 'admin'
  readonly submit: (
    reason: string | undefined,
  ) => Promise<{ readonly orgEpoch: number; readonly stillDeniedBy?: readonly string[] | undefined }>
  readonly children: ReactNode
}) {
  const [opened, setOpened] = useState(false)
  const session = useSession()
  const client = useQueryClient()
  const allowed = may === 'admin' ? mayManage(session) : mayRestore(session)
  const close = () => {
    setOpened(false)
    if (heldBy !== epoch) focusTitle()
  }
  const reload = () => {
    for (const name of ['locks', 'usage', 'devices', 'stopHistory'])
      void client.invalidateQueries({ queryKey: [name] })
  }
  if (heldBy !== epoch && !opened) {
    if (heldBy === undefined) return <Text size="sm">{over}</Text>
    return (
      <Text size="sm">
        It was stopped again since. The newer stop holds it now:{' '}
        <PageLink to={`/stops/${heldBy}`}>epoch {heldBy}</PageLink>
      </Text>
    )
  }
  return (
    <Stack gap="sm" align="flex-start">
      {children}
      {allowed ? (
        <Button color="teal.9" onClick={() => setOpened(true)}>
          {label}
        </Button>
      ) : (
        <Text size="sm">
          A key of kind {session.kind} may not do this: ask {may === 'admin' ? 'an admin' : 'an operator'}.
        </Text>
      )}
      <ChangeDialog
        title={title}
        opened={opened}
        onClose={close}
        confirm={confirm}
        tone="restore"
        reason="required"
        waits={heldBy !== epoch}
        onStale={reload}
        submit={async ({ reason }) => {
          const { orgEpoch, stillDeniedBy = [] } = await submit(reason)
          reload()
          return (
            <Text>
              Done, in epoch {orgEpoch}. It holds from the next hold point on; nothing that was denied is
              repeated by itself.
              {stillDeniedBy.length > 0 && ` Still denied by ${stillDeniedBy.join(', ')}.`}
            </Text>
          )
        }}
      >
        {heldBy === epoch ? (
          children
        ) : (
          <Text size="sm">This changed meanwhile. Close this and look again.</Text>
        )}
      </ChangeDialog>
    </Stack>
  )
}
