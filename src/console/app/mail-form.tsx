import { Alert, Button, Stack, Text, TextInput } from '@mantine/core'
import { useState, type FormEvent } from 'react'

import { mailLink } from '../api/mail-link.ts'
import { plain } from '../ui/plain.ts'

/** Asks for a link by mail. What is answered says nothing about the address. */
export function MailForm() {
  const [email, setEmail] = useState('')
  const [answer, setAnswer] = useState<string>()
  const [problem, setProblem] = useState<string>()
  const [busy, setBusy] = useState(false)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setProblem(undefined)
    setAnswer(undefined)
    try {
      setAnswer(await mailLink(email.trim()))
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Stack gap="sm">
        <TextInput
          type="email"
          label="Email address"
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
          error={problem !== undefined && plain(problem)}
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
