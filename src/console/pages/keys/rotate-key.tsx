import { Alert, List, NativeSelect, Stack, Text } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import { call } from '../../api/call.ts'
import { BlastRadius } from '../../ui/change/blast-radius.tsx'
import { usePreview } from '../../ui/change/use-preview.ts'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { absoluteTime } from '../../ui/when.tsx'
import { asksForDevices, type KeyRow } from './key-kinds.ts'
import { KeyName } from './key-name.tsx'
import { ShownKey } from './shown-key.tsx'

const NOW = '0'
const A_DAY = '86400'
const OVERLAPS = [
  { value: NOW, label: 'now: no overlap' },
  { value: '3600', label: '1 hour' },
  { value: A_DAY, label: '24 hours' },
  { value: '604800', label: '7 days' },
]

export interface KeyChangeProps {
  readonly row: KeyRow
  /** It is the one that this person is signed in with. */
  readonly isOwn: boolean
  readonly opened: boolean
  readonly onClose: () => void
}

export function RotateKey({ row, isOwn, opened, onClose }: KeyChangeProps) {
  const client = useQueryClient()
  const [overlap, setOverlap] = useState(A_DAY)
  const { keyId, kind } = row
  const isStop = overlap === NOW && asksForDevices(kind)
  // Without an overlap the old key is burned.
  const preview = usePreview('keyBurn', { id: keyId }, opened && isStop)
  return (
    <ChangeDialog
      title="Rotate a key"
      opened={opened}
      onClose={onClose}
      confirm="Make the new key"
      tone={overlap === NOW ? 'stop' : 'restore'}
      reason="optional"
      staysOpen
      waits={isStop && preview.isPending}
      submit={async ({ reason }) => {
        const { key, replaces } = await call('keyRotate', {
          id: keyId,
          overlapSeconds: Number(overlap),
          reason,
        })
        void client.invalidateQueries({ queryKey: ['keys'] })
        return (
          <ShownKey secret={key}>
            <Text size="sm">
              {overlap === NOW
                ? 'The old key is burned: it is refused from now on.'
                : `The old key works until ${absoluteTime(replaces.endsAt)}.`}
            </Text>
          </ShownKey>
        )
      }}
    >
      <Stack>
        <Text size="sm">
          A new key of the same kind, name and bindings takes the place of <KeyName row={row} />.
        </Text>
        <NativeSelect
          label="The old key goes on working for"
          data={OVERLAPS.filter(({ value }) => !(isOwn && value === NOW))}
          value={overlap}
          onChange={(event) => setOverlap(event.currentTarget.value)}
        />
        {isOwn && (
          <Text size="sm">
            It is the key that you are signed in with, so it cannot end now: you would be signed out before
            you could copy the new one. Sign in with the new key, then burn this one.
          </Text>
        )}
        {overlap === NOW ? (
          <>
            <Alert color="red" variant="outline" title="This is a stop">
              <Text size="sm">
                It burns the old key at once. Whatever still uses it is denied at its next hold point, and
                what runs is told to abort, until it has the new key.
              </Text>
            </Alert>
            {isStop && <BlastRadius of={preview} />}
          </>
        ) : (
          <List size="sm" spacing={4}>
            {asksForDevices(kind) && (
              <List.Item>
                A process that reads its key from a file (MACHINEID_ORG_KEY_FILE) takes the new one without a
                restart once the file has changed. One that has it in MACHINEID_ORG_KEY needs a restart.
              </List.Item>
            )}
            <List.Item>
              Until the overlap has passed both keys work. After that the old one is refused: a process that
              still has it is denied at every hold point. Its row here says when it was last used.
            </List.Item>
            <List.Item>If the key is in wrong hands, do not rotate with an overlap: burn it.</List.Item>
          </List>
        )}
      </Stack>
    </ChangeDialog>
  )
}
