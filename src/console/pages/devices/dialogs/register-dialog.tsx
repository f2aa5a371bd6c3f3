import {
  Alert,
  Button,
  Group,
  Modal,
  SegmentedControl,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
} from '@mantine/core'
import { useId, useState, type FormEvent } from 'react'

import { ApiError } from '../../../api/api-error.ts'
import { call } from '../../../api/call.ts'
import type { Output } from '../../../api/routes.ts'
import { count } from '../../../ui/count.ts'
import { plain } from '../../../ui/plain.ts'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { SEGMENTS, type Segments } from '../device-id.ts'
import { deniedByInWords } from '../device-state.ts'
import type { DialogProps } from './dialogs.tsx'
import { LabelFields, labelsOf, type LabelField } from './label-fields.tsx'

const EMPTY: Segments = { service: '', env: '', surface: '', instance: '' }
const PLACEHOLDERS: Segments = { service: 'openai-agent', env: 'prod', surface: 'payments', instance: '01' }
const LABELS = { service: 'Service', env: 'Environment', surface: 'Surface', instance: 'Instance' } as const

export function RegisterDialog({ data, opened, end }: DialogProps) {
  return (
    <Modal
      opened={opened}
      onClose={end}
      closeOnClickOutside={false}
      title="Register a device"
      size="lg"
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {opened && <RegisterForm data={data} end={end} />}
    </Modal>
  )
}

function RegisterForm({ data, end }: Pick<DialogProps, 'data' | 'end'>) {
  const errorId = useId()
  const [whole, setWhole] = useState(false)
  const [segments, setSegments] = useState(EMPTY)
  const [id, setId] = useState('')
  const [labels, setLabels] = useState<readonly LabelField[]>([])
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [registered, setRegistered] = useState<Output<'register'>>()
  const deviceId = whole ? id : SEGMENTS.map((name) => segments[name]).join(':')
  const [sent, setSent] = useState('')

  const register = async (restore?: { readonly restoreRemoved: true; readonly ifEpoch: number }) => {
    if (busy) return
    setBusy(true)
    setError(undefined)
    setSent(deviceId)
    try {
      setRegistered(await call('register', { deviceId, ...labelsOf(labels), ...restore }))
      await data.renew()
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      setError(cause)
    } finally {
      setBusy(false)
    }
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    void register()
  }
  if (registered !== undefined) return <Registered of={registered} end={end} />

  // What was refused is the ID that was sent, not what it has been changed to since.
  const { atId, atLabels, elsewhere } = placed(sent === deviceId ? error : undefined)
  const { usage } = data
  return (
    <form onSubmit={submit}>
      <Stack>
        {usage !== undefined && (
          <Text size="sm" className="numbers">
            {`${usage.devicesUsed.toLocaleString('en')} of ${count(usage.limit, 'device')} of the plan are used${usage.remaining <= 0 ? ': there is no room for another one. Remove one that is no longer needed, or raise the plan.' : '.'}`}
          </Text>
        )}
        <SegmentedControl
          aria-label="How to give the ID"
          value={whole ? 'whole' : 'parts'}
          onChange={(to) => {
            if (to === 'whole' && id === '') setId(deviceId === ':::' ? '' : deviceId)
            setWhole(to === 'whole')
          }}
          data={[
            { value: 'parts', label: 'By its segments' },
            { value: 'whole', label: 'A whole ID' },
          ]}
        />
        {whole ? (
          <TextInput
            label="Device ID"
            value={id}
            onChange={(event) => setId(event.currentTarget.value)}
            classNames={{ input: 'mono' }}
            spellCheck={false}
            error={atId}
            required
            data-autofocus
          />
        ) : (
          <>
            <SimpleGrid cols={{ base: 2, sm: 4 }} spacing="sm">
              {SEGMENTS.map((name, index) => (
                <TextInput
                  key={name}
                  label={LABELS[name]}
                  placeholder={PLACEHOLDERS[name]}
                  value={segments[name]}
                  onChange={({ currentTarget: { value } }) =>
                    setSegments((now) => ({ ...now, [name]: value }))
                  }
                  spellCheck={false}
                  error={atId !== undefined}
                  aria-describedby={atId === undefined ? undefined : errorId}
                  required
                  {...(index === 0 && { 'data-autofocus': true })}
                />
              ))}
            </SimpleGrid>
            <Text size="sm" component="div">
              ID: <Untrusted text={deviceId} mono />
            </Text>
            {atId !== undefined && (
              <Text id={errorId} size="xs" c="var(--mantine-color-error)" role="alert">
                {atId}
              </Text>
            )}
          </>
        )}
        <LabelFields labels={labels} change={setLabels} error={atLabels} />
        {elsewhere !== undefined && (
          <RegisterRefused
            error={elsewhere}
            deviceId={deviceId}
            busy={busy}
            restore={(ifEpoch) => void register({ restoreRemoved: true, ifEpoch })}
          />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={end}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            Register
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

/** What the API says of a field stands at that field. */
function placed(error: ApiError | undefined) {
  const text = error === undefined ? '' : plain(error.message).replace('"deviceId" is not valid. ', '')
  const isField = error?.status === 400
  const atLabels = isField && text.includes('labels') ? text : undefined
  const atId = isField && atLabels === undefined ? text : undefined
  return { atId, atLabels, elsewhere: isField ? undefined : error }
}

function RegisterRefused({
  error: { code, message, epoch },
  deviceId,
  busy,
  restore,
}: {
  readonly error: ApiError
  readonly deviceId: string
  readonly busy: boolean
  readonly restore: (ifEpoch: number) => void
}) {
  if (code === 'DEVICE_REMOVED' && epoch !== undefined) {
    return (
      <Alert color="orange" variant="outline" role="alert" title="This ID was removed.">
        <Stack gap="xs" align="flex-start">
          <Text size="sm" component="div">
            <Untrusted text={deviceId} mono /> stays denied until somebody brings it back, against the epoch
            of its removal ({epoch}). If it was revoked before, it is so again.
          </Text>
          <Button color="teal.9" size="compact-sm" loading={busy} onClick={() => restore(epoch)}>
            Bring it back
          </Button>
        </Stack>
      </Alert>
    )
  }
  return (
    <Alert color="red" variant="outline" role="alert" title="It was not registered.">
      <Text size="sm">
        {code === 'EPOCH_STALE'
          ? 'Somebody else has changed it meanwhile. Register it again to see how it stands now.'
          : plain(message)}
      </Text>
    </Alert>
  )
}

function Registered({ of, end }: { readonly of: Output<'register'>; readonly end: () => void }) {
  const still = of.stillDeniedBy ?? []
  return (
    <Stack>
      <div role="status">
        <Text size="sm" component="div">
          <Untrusted text={of.deviceId} mono />{' '}
          {of.status === 'exists' ? 'is registered already.' : 'is registered.'}{' '}
          {`${of.devicesUsed.toLocaleString('en')} of ${count(of.limit, 'device')} of the plan are used.`}
        </Text>
        {still.length > 0 && <Text size="sm">{`It is still denied: ${deniedByInWords(still)}.`}</Text>}
      </div>
      <Group justify="flex-end">
        <Button onClick={end} data-autofocus>
          Close
        </Button>
      </Group>
    </Stack>
  )
}
