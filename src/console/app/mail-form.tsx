import { Alert, Button, Stack, Text, TextInput } from '@mantine/core'
import { useState } from 'react'

import { mailLink } from '../api/mail-link.ts'
import { plain } from '../ui/plain.ts'
import { useSend } from '../ui/use-send.ts'

/** Asks for a link by mail. What is answered says nothing about the address. */
export function MailForm() {
  const [email, setEmail] = useState('')
  const [answer, setAnswer] = useState<string>()
  const { busy, problem, onSubmit } = useSend(async () => {
    setAnswer(undefined)
    setAnswer(await mailLink(email.trim()))
  })
  return (
    <form onSubmit={onSubmit}>
      <Stack gap="sm">
        <TextInput
          type="email"
          label="Email address"
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
          error={problem}
          errorProps={{ role: 'alert' }}
          autoComplete="email"
          maxLength={254}
          withAsterisk={false}
          required
        />
        <Button type="submit" variant="default" loading={busy}>
          Mail me a link
        </Button>
        <div role="status">
          {answer !== undefined && (
            <Alert color="blue" variant="outline">
              <Text size="sm">{plain(answer)}</Text>
            </Alert>
          )}
        </div>
      </Stack>
    </form>
  )
}
