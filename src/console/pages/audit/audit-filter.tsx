import { Button, Group, NativeSelect, TextInput } from '@mantine/core'
import { useState, type FormEvent } from 'react'

import type { Filters } from '../../ui/use-filters.ts'
import { actionChoices } from './audit-actions.ts'
import { isoOf, localOf } from './local-time.ts'

export const FILTERS = ['action', 'device', 'actor', 'from', 'to', 'before'] as const
export type AuditFilters = Filters<(typeof FILTERS)[number]>

/** Which changes are shown. */
export function AuditFilter({
  filters,
  onChange,
}: {
  readonly filters: AuditFilters
  readonly onChange: (filters: AuditFilters) => void
}) {
  const [draft, setDraft] = useState(() => draftOf(filters))
  // The address may change under it, such as by going back.
  const [shown, setShown] = useState(filters)
  if (shown !== filters) {
    setShown(filters)
    setDraft(draftOf(filters))
  }
  const set = (change: Partial<typeof draft>) => setDraft({ ...draft, ...change })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onChange({
      action: draft.action,
      device: draft.device.trim(),
      actor: draft.actor.trim(),
      from: isoOf(draft.from) ?? '',
      to: isoOf(draft.to) ?? '',
      before: '',
    })
  }
  return (
    <form onSubmit={submit} aria-label="Filter" role="search">
      <Group align="flex-end" gap="sm">
        <NativeSelect
          label="Change"
          data={actionChoices(filters.action)}
          value={draft.action}
          onChange={(event) => set({ action: event.currentTarget.value })}
        />
        <TextInput
          label="Device or pattern"
          placeholder="billing:prod:*"
          maxLength={128}
          spellCheck={false}
          value={draft.device}
          onChange={(event) => set({ device: event.currentTarget.value })}
        />
        <TextInput
          label="Who"
          placeholder="ID of a key, local"
          maxLength={256}
          spellCheck={false}
          value={draft.actor}
          onChange={(event) => set({ actor: event.currentTarget.value })}
        />
        <Group gap="sm" align="flex-end">
          <TextInput
            label="From"
            type="datetime-local"
            step={1}
            value={draft.from}
            onChange={(event) => set({ from: event.currentTarget.value })}
          />
          <TextInput
            label="To"
            type="datetime-local"
            step={1}
            value={draft.to}
            onChange={(event) => set({ to: event.currentTarget.value })}
          />
        </Group>
        <Button type="submit">Show</Button>
        {Object.keys(filters).length > 0 && (
          <Button
            variant="default"
            onClick={() => onChange(Object.fromEntries(FILTERS.map((name) => [name, ''])))}
          >
            Clear
          </Button>
        )}
      </Group>
    </form>
  )
}

function draftOf({ action = '', device = '', actor = '', from, to }: AuditFilters) {
  return { action, device, actor, from: localOf(from), to: localOf(to) }
}
