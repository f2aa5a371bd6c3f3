import { Text } from '@mantine/core'

import { endSession, type SessionScope } from '../api/session-end.ts'
import { ChangeDialog } from '../ui/change/change-dialog.tsx'

const ABOUT = {
  mine: {
    title: 'Sign out everywhere',
    text: 'Ends every session of your key, and every session that you began with a link, in all browsers. Keys keep working, and nothing is stopped.',
  },
  org: {
    title: 'Sign everybody out',
    text: 'Ends every session of this org, yours too. Whoever has a key or an owner’s mailbox can sign in again: to keep somebody out, burn their key. Nothing is stopped.',
  },
} as const

export function SignOutDialog({
  scope,
  onClose,
}: {
  readonly scope: Exclude<SessionScope, 'this'> | undefined
  readonly onClose: () => void
}) {
  if (scope === undefined) return null
  const { title, text } = ABOUT[scope]
  return (
    <ChangeDialog
      title={title}
      opened
      onClose={onClose}
      confirm={title}
      reason="none"
      submit={async () => {
        await endSession(scope)
        return <Text>You are signed out.</Text>
      }}
    >
      <Text size="sm">{text}</Text>
    </ChangeDialog>
  )
}
