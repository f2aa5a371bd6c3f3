import { Button, Group, Paper, Stack, Table, Text, TextInput, Title } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import { call } from '../../api/call.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { plain } from '../../ui/plain.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { useSend } from '../../ui/use-send.ts'

/** Whom a recovery link is mailed to. */
export function Owners() {
  const owners = useCall('owners', {})
  const [removing, setRemoving] = useState<string>()
  const [opened, setOpened] = useState(false)
  const client = useQueryClient()
  const look = () => void client.invalidateQueries({ queryKey: ['owners'] })
  return (
    <Stack component="section" aria-labelledby="owners">
      <Title order={2} size="h4" id="owners">
        Owners
      </Title>
      <Text size="sm" maw={720}>
        The addresses that a sign-in link is mailed to when every key is lost. Whoever reads that mail can
        become admin. Each of them, old and new, is told by mail of every change here.
      </Text>
      <Answer of={owners}>
        {({ owners: addresses }) => (
          <Paper withBorder p="md" maw={720}>
            <Stack>
              {addresses.length === 0 ? (
                <Empty title="No owner yet">
                  Without one, nobody gets in again once every admin key is lost. Add an address.
                </Empty>
              ) : (
                <ScrollTable label="Addresses of owners" minWidth={260} head={['Address', 'Actions']}>
                  {addresses.map((address) => (
                    <Table.Tr key={address}>
                      <Table.Th scope="row" fw={400}>
                        <Untrusted text={address} />
                      </Table.Th>
                      <Table.Td>
                        <Button
                          size="compact-sm"
                          variant="default"
                          disabled={addresses.length === 1}
                          aria-label={`Remove ${plain(address)}`}
                          onClick={() => {
                            setRemoving(address)
                            setOpened(true)
                          }}
                        >
                          Remove
                        </Button>
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </ScrollTable>
              )}
              {addresses.length === 1 && (
                <Text size="sm">
                  The last owner cannot be removed (LAST_OWNER): the org would be without recovery. Add
                  another first.
                </Text>
              )}
              <AddOwner onAdded={look} />
            </Stack>
          </Paper>
        )}
      </Answer>
      <ChangeDialog
        title="Remove an owner"
        opened={opened}
        onClose={() => setOpened(false)}
        confirm="Remove it"
        reason="none"
        submit={async () => {
          await call('ownersChange', { remove: [removing ?? ''] })
          look()
          return <Text size="sm">It is no owner any more, and was told so by mail.</Text>
        }}
      >
        <Text size="sm">
          <Untrusted text={removing ?? ''} /> gets no sign-in link any more. Keys and sessions that came of
          earlier links go on: burn those keys too if they should not.
        </Text>
      </ChangeDialog>
    </Stack>
  )
}

function AddOwner({ onAdded }: { readonly onAdded: () => void }) {
  const [address, setAddress] = useState('')
  const [told, setTold] = useState<string>()
  const { busy, problem, onSubmit } = useSend(async () => {
    setTold(undefined)
    await call('ownersChange', { add: [address.trim()] })
    setTold(`${address.trim()} is an owner now.`)
    setAddress('')
    onAdded()
  })
  return (
    <form onSubmit={onSubmit}>
      <Group align="flex-end" gap="xs">
        <TextInput
          flex="1 1 220px"
          label="Add an owner"
          type="email"
          placeholder="ops@example.com"
          required
          maxLength={254}
          autoComplete="off"
          value={address}
          error={problem}
          onChange={(event) => setAddress(event.currentTarget.value)}
        />
        <Button type="submit" variant="default" loading={busy}>
          Add
        </Button>
      </Group>
      <Text size="sm" role="status">
        {told !== undefined && plain(told)}
      </Text>
    </form>
  )
}
