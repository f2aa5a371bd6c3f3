import { Button, PasswordInput, Stack } from '@mantine/core'
import { useState } from 'react'

import { call } from '../api/call.ts'
import { tellOtherTabs } from '../api/other-tabs.ts'
import { assertNotReadable } from '../api/plain-http.ts'
import { setSession } from '../api/session-state.ts'
import { useSend } from '../ui/use-send.ts'

/** Signs in with a key: it is sent once and kept nowhere. */
export function KeyForm() {
  const [key, setKey] = useState('')
  const { busy, problem, onSubmit } = useSend(async () => {
    assertNotReadable(window.location)
    const session = await call('sessionStart', { key: key.trim() })
    setSession({ is: 'signed_in', session })
    tellOtherTabs()
  })
  return (
    <form onSubmit={onSubmit}>
      <Stack gap="sm">
        <PasswordInput
          label="Key"
          description="Of kind viewer, stop, operator, admin or full. It is sent once; this page keeps nothing of it."
          value={key}
          onChange={(event) => setKey(event.currentTarget.value)}
          error={problem}
          errorProps={{ role: 'alert' }}
          aria-invalid={problem !== undefined}
          visibilityToggleButtonProps={{ 'aria-label': 'Show the key', tabIndex: 0 }}
          autoComplete="off"
          spellCheck={false}
          maxLength={256}
          withAsterisk={false}
          required
        />
        <Button type="submit" loading={busy}>
          Sign in
        </Button>
      </Stack>
    </form>
  )
}
