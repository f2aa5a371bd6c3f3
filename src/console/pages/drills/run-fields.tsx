import { Checkbox, NativeSelect, NumberInput, SimpleGrid } from '@mantine/core'

import { mayManage } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { plain } from '../../ui/plain.ts'

export interface RunForm {
  /** Empty: a canary. */
  readonly surface: string
  readonly org: boolean
  readonly cut: boolean
  readonly callsPerSecond: number
  readonly forSeconds: number
}

export function RunFields({
  form,
  surfaces,
  onChange,
}: {
  readonly form: RunForm
  readonly surfaces: readonly string[]
  readonly onChange: (change: Partial<RunForm>) => void
}) {
  const session = useSession()
  return (
    <>
      <NativeSelect
        label="Stop"
        description="A canary is a device that nothing else uses."
        data={[
          { value: '', label: 'a canary' },
          ...surfaces.map((name) => ({ value: name, label: `the real surface ${plain(name)}` })),
        ]}
        value={form.surface}
        onChange={(event) => onChange({ surface: event.currentTarget.value })}
      />
      {mayManage(session) && (
        <Checkbox
          label="Disable and enable the whole org as well"
          checked={form.org}
          onChange={(event) => onChange({ org: event.currentTarget.checked })}
        />
      )}
      <Checkbox
        label="Make the control plane unreachable for the canary too"
        description="Shows that no answer means no. Nobody else notices."
        checked={form.cut}
        onChange={(event) => onChange({ cut: event.currentTarget.checked })}
      />
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <NumberInput
          label="Calls per second"
          description="In all, 1 to 100"
          min={1}
          max={100}
          allowDecimal={false}
          clampBehavior="strict"
          value={form.callsPerSecond}
          onChange={(value) => onChange({ callsPerSecond: Number(value) || 1 })}
        />
        <NumberInput
          label="Seconds after each ack"
          description="How long is measured, 1 to 30"
          min={1}
          max={30}
          allowDecimal={false}
          clampBehavior="strict"
          value={form.forSeconds}
          onChange={(value) => onChange({ forSeconds: Number(value) || 1 })}
        />
      </SimpleGrid>
    </>
  )
}
