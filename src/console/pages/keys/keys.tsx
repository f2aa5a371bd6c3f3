import { Stack, Switch, Text, Title } from '@mantine/core'
import { useState } from 'react'

import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'
import { Page } from '../../ui/page.tsx'
import { BurnKey } from './burn-key.tsx'
import { CreateKey } from './create-key.tsx'
import { hasEnded, type KeyRow } from './key-kinds.ts'
import { KeyTable } from './key-table.tsx'
import { Owners } from './owners.tsx'
import { RotateKey } from './rotate-key.tsx'

/** Who may do what: keys and owners. */
export function Keys() {
  const { keyId: ownId } = useSession()
  const keys = useCall('keys', {}, { everyMs: 15_000 })
  const [withEnded, setWithEnded] = useState(false)
  // Kept here and not in a row: a burned key's row may be gone before its dialog is closed.
  const [change, setChange] = useState<{ readonly what: 'rotate' | 'burn'; readonly row: KeyRow }>()
  const [opened, setOpened] = useState(false)
  const dialog = change !== undefined && {
    row: change.row,
    isOwn: change.row.keyId === ownId,
    onClose: () => {
      setOpened(false)
      focusHeadingIfLost()
    },
  }
  return (
    <Page title="Keys" actions={<CreateKey />}>
      <Answer of={keys}>
        {({ keys: all }) => {
          const rows = withEnded ? all : all.filter((row) => !hasEnded(row))
          const ended = all.filter(hasEnded).length
          return (
            <Stack component="section" aria-labelledby="keys" gap="sm">
              <Title order={2} size="h4" id="keys">
                {count(all.length - ended, 'key')} in use
              </Title>
              <Text size="sm" maw={720}>
                Each is shown once, when it is made. Give everybody the least that is enough, and each process
                its own.
              </Text>
              <Switch
                label={`Show ended ones (${ended})`}
                checked={withEnded}
                onChange={(event) => setWithEnded(event.currentTarget.checked)}
              />
              <KeyTable
                rows={rows.toReversed()}
                all={all}
                ownId={ownId}
                onChange={(what, row) => {
                  setChange({ what, row })
                  setOpened(true)
                }}
              />
            </Stack>
          )
        }}
      </Answer>
      <Owners />
      {dialog && (
        <>
          <RotateKey
            key={`rotate ${dialog.row.keyId}`}
            {...dialog}
            opened={opened && change.what === 'rotate'}
          />
          <BurnKey key={`burn ${dialog.row.keyId}`} {...dialog} opened={opened && change.what === 'burn'} />
        </>
      )}
    </Page>
  )
}

/** Where the button that opened a dialog is gone, such as that of a key which was burned. */
function focusHeadingIfLost(): void {
  window.setTimeout(() => {
    if (document.activeElement === document.body) document.querySelector('h1')?.focus()
  }, 300)
}
