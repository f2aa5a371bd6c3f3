import { Button, NativeSelect, Stack, Text, TextInput } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import { call } from '../../api/call.ts'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { BindingFields } from './binding-fields.tsx'
import { bindingLines, judgeBindings } from './bindings.ts'
import { aboutKind, KINDS, type KeyKind } from './key-kinds.ts'
import { ShownKey } from './shown-key.tsx'

const EMPTY = { kind: 'runtime' as KeyKind, name: '', bindings: '' }

export function CreateKey() {
  const client = useQueryClient()
  const [opened, { open, close }] = useDisclosure()
  const [form, setForm] = useState(EMPTY)
  const { kind, name } = form
  const bindings = kind === 'runtime' ? bindingLines(form.bindings) : []
  const isIncomplete =
    kind === 'runtime' &&
    (bindings.length === 0 || judgeBindings(bindings, []).some(({ problem }) => problem !== undefined))
  const about = aboutKind(kind)
  return (
    <>
      <Button
        onClick={() => {
          setForm(EMPTY)
          open()
        }}
      >
        Create a key
      </Button>
      <ChangeDialog
        title="Create a key"
        opened={opened}
        onClose={close}
        confirm="Create it"
        tone="restore"
        reason="none"
        staysOpen
        waits={isIncomplete}
        submit={async () => {
          // Straight from the answer into the dialog: what goes through the query cache would stay there.
          const made = await call('keyCreate', {
            kind,
            ...(name.trim() !== '' && { name: name.trim() }),
            ...(kind === 'runtime' && { bindings }),
          })
          void client.invalidateQueries({ queryKey: ['keys'] })
          return <ShownKey secret={made.key} />
        }}
      >
        <Stack>
          <NativeSelect
            label="Kind"
            data={KINDS.map((one) => ({ value: one.kind, label: one.kind }))}
            value={kind}
            onChange={(event) => setForm({ ...form, kind: event.currentTarget.value as KeyKind })}
          />
          {about !== undefined && (
            <Text size="sm" role="status">
              {about.isFor} {about.may} {about.mayNot}
            </Text>
          )}
          <TextInput
            label="Name"
            description="Whose it is, or where it is kept. Never a secret."
            maxLength={100}
            value={name}
            onChange={(event) => setForm({ ...form, name: event.currentTarget.value })}
          />
          {kind === 'runtime' && (
            <BindingFields text={form.bindings} onChange={(text) => setForm({ ...form, bindings: text })} />
          )}
        </Stack>
      </ChangeDialog>
    </>
  )
}
