import { Button, Group, TextInput } from '@mantine/core'
import { useState, type FormEvent } from 'react'
import { useLocation } from 'wouter'

/** To the page of one decision. */
export function RequestSearch() {
  const [id, setId] = useState('')
  const [, navigate] = useLocation()
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (id.trim() !== '') navigate(`/decisions/${encodeURIComponent(id.trim())}`)
  }
  return (
    <form onSubmit={submit} role="search">
      <Group align="flex-end" gap="xs" wrap="nowrap" maw={480}>
        <TextInput
          label="request_id"
          description="Of a denial, from a log or from what the model was told."
          maxLength={128}
          flex={1}
          value={id}
          onChange={(event) => setId(event.currentTarget.value)}
        />
        <Button type="submit" variant="default">
          Explain
        </Button>
      </Group>
    </form>
  )
}
