import { Button, Group, NativeSelect, TextInput } from '@mantine/core'
import { useState, type FormEvent } from 'react'

import type { DecisionFilters } from './use-decisions.ts'

const BOUNDARIES = ['startup', 'task', 'tool', 'side_effect', 'resume']
const VERDICTS = [
  { value: '', label: 'all' },
  { value: 'false', label: 'denied' },
  { value: 'true', label: 'allowed' },
]

/** Texts are asked for when they are entered, choices at once. */
export function DecisionFilterForm({
  filters,
  onChange,
}: {
  readonly filters: DecisionFilters
  readonly onChange: (change: Readonly<Partial<Record<keyof DecisionFilters, string>>>) => void
}) {
  const [device, setDevice] = useState(filters.device ?? '')
  const [code, setCode] = useState(filters.code ?? '')
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onChange({ device: device.trim(), code: code.trim().toUpperCase() })
  }
  return (
    <form onSubmit={submit}>
      <Group align="flex-end" gap="sm">
        <NativeSelect
          label="Verdict"
          data={VERDICTS}
          value={filters.allowed ?? ''}
          onChange={(event) => onChange({ allowed: event.currentTarget.value })}
        />
        <NativeSelect
          label="Boundary"
          data={[{ value: '', label: 'any' }, ...BOUNDARIES]}
          value={filters.boundary ?? ''}
          onChange={(event) => onChange({ boundary: event.currentTarget.value })}
        />
        <TextInput
          label="Device or pattern"
          placeholder="*:prod:payments:*"
          maxLength={128}
          value={device}
          onChange={(event) => setDevice(event.currentTarget.value)}
        />
        <TextInput
          label="Code"
          placeholder="DEVICE_REVOKED"
          maxLength={64}
          value={code}
          onChange={(event) => setCode(event.currentTarget.value)}
        />
        <Button type="submit" variant="default">
          Show
        </Button>
      </Group>
    </form>
  )
}
