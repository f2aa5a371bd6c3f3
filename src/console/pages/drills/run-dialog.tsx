import { Alert, Checkbox, Stack, Text } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import { call } from '../../api/call.ts'
import { useCall } from '../../api/use-call.ts'
import { BlastRadius } from '../../ui/change/blast-radius.tsx'
import { usePreview } from '../../ui/change/use-preview.ts'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { count } from '../../ui/count.ts'
import { plain } from '../../ui/plain.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import { RunFields, type RunForm } from './run-fields.tsx'
import { devicesOfSurface, surfacesOf } from './surfaces.ts'

const DEFAULTS: RunForm = { surface: '', org: false, cut: true, callsPerSecond: 20, forSeconds: 3 }

export function RunDialog({ opened, onClose }: { readonly opened: boolean; readonly onClose: () => void }) {
  const client = useQueryClient()
  const [form, setForm] = useState(DEFAULTS)
  const [isSure, setSure] = useState(false)
  const { surface, org } = form
  const isReal = surface !== '' || org
  const replicas = useCall('replicas', {}, { enabled: opened, everyMs: 5000 })
  const disable = usePreview('orgDisable', {}, opened && org)
  const known = replicas.data?.replicas ?? []
  return (
    <ChangeDialog
      title="Run a drill"
      opened={opened}
      onClose={() => {
        setForm(DEFAULTS)
        setSure(false)
        onClose()
      }}
      confirm={isReal ? 'Stop it and run the drill' : 'Run the drill'}
      tone={isReal ? 'stop' : 'restore'}
      reason="none"
      waits={(isReal && !isSure) || (org && disable.data === undefined)}
      submit={async () => {
        await call('drillRunStart', askedOf(form))
        void client.invalidateQueries({ queryKey: ['drillRun'] })
        return <Text size="sm">It runs. Its progress stands on the page; it restores what it stops.</Text>
      }}
    >
      <Stack>
        <RunFields
          form={form}
          surfaces={surfacesOf(known)}
          onChange={(change) => {
            setForm({ ...form, ...change })
            setSure(false)
          }}
        />
        <Warnings form={form} disable={disable} hit={devicesOfSurface(known, surface)} />
        {isReal && (
          <Checkbox
            label={`I know that ${whatStops(form)} for a while`}
            checked={isSure}
            required
            onChange={(event) => setSure(event.currentTarget.checked)}
          />
        )}
      </Stack>
    </ChangeDialog>
  )
}

function Warnings({
  form: { surface, org, forSeconds },
  disable,
  hit,
}: {
  readonly form: RunForm
  readonly disable: ReturnType<typeof usePreview>
  readonly hit: ReturnType<typeof devicesOfSurface>
}) {
  return (
    <>
      {surface !== '' && <RealSurface surface={surface} forSeconds={forSeconds} hit={hit} />}
      {org && (
        <Stack gap="xs">
          <Text size="sm" fw={600}>
            Every agent of the org is denied for about {count(forSeconds, 'second')} or more.
          </Text>
          <BlastRadius of={disable} />
        </Stack>
      )}
    </>
  )
}

function askedOf({ surface, ...others }: RunForm) {
  return surface === '' ? others : { surface, ...others }
}

function whatStops({ surface, org }: RunForm): string {
  const stopped = [...(surface === '' ? [] : [plain(surface)]), ...(org ? ['the whole org'] : [])]
  return `${stopped.join(' and ')} really ${stopped.length === 1 ? 'stops' : 'stop'}`
}

function RealSurface({
  surface,
  forSeconds,
  hit,
}: {
  readonly surface: string
  readonly forSeconds: number
  readonly hit: ReturnType<typeof devicesOfSurface>
}) {
  const inFlight = hit.reduce((sum, device) => sum + device.inFlight, 0)
  return (
    <Alert color="red" variant="outline" title={`■ This stops the real surface ${plain(surface)}`}>
      <Stack gap={4}>
        <Text size="sm">
          Its devices are revoked for about {count(forSeconds, 'second')} or more, then restored. What runs
          there is aborted where it can be: {count(inFlight, 'call')} in flight now, on{' '}
          {count(hit.length, 'device')}.
        </Text>
        {hit.map(({ deviceId }) => (
          <Text key={deviceId} size="xs">
            <Untrusted text={deviceId} mono />
          </Text>
        ))}
      </Stack>
    </Alert>
  )
}
