import { Autocomplete, SimpleGrid, Text, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useMemo, useState } from 'react'

import { call } from '../../../api/call.ts'
import { BlastRadius } from '../../../ui/change/blast-radius.tsx'
import { usePreview } from '../../../ui/change/use-preview.ts'
import { ChangeDialog, type ChangeInput } from '../../../ui/change/change-dialog.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { segmentValues } from '../device-filter.ts'
import { patternOf, pinnedBy, SEGMENTS } from '../device-id.ts'
import { AfterStop } from './after-stop.tsx'
import type { DialogProps } from './dialogs.tsx'
import { movedBetween } from './epoch-moved.ts'

const PREVIEW_AFTER_MS = 300
const LABELS = { service: 'Service', env: 'Environment', surface: 'Surface', instance: 'Instance' } as const

/** A lock: it stops what matches now, and what comes later. */
export function StopSurfaceDialog({
  pattern: given,
  data,
  opened,
  end,
}: DialogProps & { readonly pattern: string }) {
  const [pattern, setPattern] = useState(given)
  const [settled] = useDebouncedValue(pattern, PREVIEW_AFTER_MS)
  const wanted = settled.trim()
  const preview = usePreview('lock', { pattern: wanted, reason: 'preview' }, opened && wanted !== '')
  const values = useMemo(() => segmentValues(data.rows), [data.rows])
  const pinned = pinnedBy(pattern)
  const isEmpty = preview.data?.deviceCount === 0
  const isRefused = preview.error?.status === 400

  const submit = async ({ reason = '', remindAfterSeconds }: ChangeInput) => {
    const locked = await call('lock', { pattern: wanted, reason, remindAfterSeconds })
    void data.renew()
    return (
      <AfterStop epochs={[locked.epoch]} moved={movedBetween(preview.data?.orgEpoch, locked.orgEpoch, 1)}>
        <Untrusted text={locked.pattern} mono /> is locked: what matches it is denied, and what registers
        later too.
      </AfterStop>
    )
  }
  return (
    <ChangeDialog
      title="Stop a surface"
      opened={opened}
      onClose={end}
      confirm="Stop"
      reason="required"
      withReminder
      waits={wanted === '' || wanted !== pattern.trim() || preview.isPending || isRefused}
      submit={submit}
    >
      <SimpleGrid cols={{ base: 2, sm: 4 }} spacing="sm">
        {SEGMENTS.map((name) => (
          <Autocomplete
            key={name}
            label={LABELS[name]}
            placeholder="any"
            data={[...values[name]]}
            limit={50}
            value={pinned[name]}
            onChange={(value) => setPattern(patternOf({ ...pinned, [name]: value.trim() }))}
            {...(name === 'surface' && given === '' && { 'data-autofocus': true })}
          />
        ))}
      </SimpleGrid>
      <TextInput
        label="Pattern"
        description="* is any whole segment; a last * is one or more."
        value={pattern}
        onChange={(event) => setPattern(event.currentTarget.value)}
        classNames={{ input: 'mono' }}
        spellCheck={false}
        autoComplete="off"
        required
      />
      {wanted !== '' && <BlastRadius of={preview} />}
      {isEmpty && (
        <Text size="sm">
          No device matches this now, so it stops nothing that runs. Is it the pattern that you mean? Devices
          that match and register later are denied.
        </Text>
      )}
    </ChangeDialog>
  )
}
