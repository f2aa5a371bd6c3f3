import { NativeSelect, Select, TextInput } from '@mantine/core'
import { memo } from 'react'

import { SEGMENTS, type Segments } from './device-id.ts'
import { STATES, type DeviceFilter } from './device-filter.ts'
import styles from './filters.module.css'

const SEGMENT_LABELS: Readonly<Record<keyof Segments, string>> = {
  service: 'Service',
  env: 'Environment',
  surface: 'Surface',
  instance: 'Instance',
}
const STATE_OPTIONS = [
  { value: '', label: 'any' },
  { value: 'allowed', label: 'allowed' },
  { value: 'denied', label: 'denied' },
  { value: 'revoked', label: 'revoked' },
  { value: 'locked', label: 'locked' },
  { value: 'over_limit', label: 'over limit' },
  { value: 'overdue', label: 'overdue' },
]
const SILENCES = [
  { value: '', label: 'any time' },
  { value: '300', label: '5 minutes' },
  { value: '3600', label: 'an hour' },
  { value: '86400', label: 'a day' },
  { value: '604800', label: 'a week' },
  { value: '2592000', label: '30 days' },
]
export const DeviceFilters = memo(function DeviceFilters({
  filter,
  text,
  search,
  change,
  values,
}: {
  readonly filter: DeviceFilter
  readonly text: string
  readonly search: (text: string) => void
  readonly change: (change: Partial<DeviceFilter>) => void
  readonly values: Readonly<Record<keyof Segments, readonly string[]>>
}) {
  return (
    <div className={styles.filters} role="search" aria-label="Devices">
      <TextInput
        type="search"
        label="Search"
        placeholder="ID, reason or label"
        value={text}
        onChange={(event) => search(event.currentTarget.value)}
        className={styles.search}
      />
      <SegmentFilters filter={filter} change={change} values={values} />
      <NativeSelect
        label="State"
        data={STATE_OPTIONS}
        value={filter.overdue ? 'overdue' : (filter.state ?? '')}
        onChange={({ currentTarget: { value } }) =>
          change({ state: STATES.find((state) => state === value), overdue: value === 'overdue' })
        }
      />
      <NativeSelect
        label="Silent for"
        data={silences(filter.silentSeconds)}
        value={String(filter.silentSeconds ?? '')}
        onChange={({ currentTarget: { value } }) =>
          change({ silentSeconds: value === '' ? undefined : Number(value) })
        }
      />
    </div>
  )
})

/** What a link may have asked for is a choice too. */
function silences(seconds: number | undefined) {
  const value = String(seconds ?? '')
  return SILENCES.some((silence) => silence.value === value)
    ? SILENCES
    : [...SILENCES, { value, label: `${value} s` }]
}

const SegmentFilters = memo(function SegmentFilters({
  filter,
  change,
  values,
}: {
  readonly filter: Segments
  readonly change: (change: Partial<DeviceFilter>) => void
  readonly values: Readonly<Record<keyof Segments, readonly string[]>>
}) {
  return SEGMENTS.map((name) => (
    <Select
      key={name}
      label={SEGMENT_LABELS[name]}
      placeholder="any"
      data={withGiven(values[name], filter[name])}
      value={filter[name] || null}
      onChange={(value) => change({ [name]: value ?? '' })}
      searchable
      clearable
      clearButtonProps={{ 'aria-label': `Any ${SEGMENT_LABELS[name].toLowerCase()}` }}
      clearSectionMode="clear"
      limit={100}
      nothingFoundMessage="none"
    />
  ))
})

/** A link may ask for what there is none of. */
function withGiven(values: readonly string[], given: string): string[] {
  return given === '' || values.includes(given) ? [...values] : [given, ...values]
}
