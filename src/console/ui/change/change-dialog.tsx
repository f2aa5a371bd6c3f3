import { Alert, Button, Code, Group, Modal, NativeSelect, Stack, Text, Textarea } from '@mantine/core'
import { useState, type FormEvent, type ReactNode } from 'react'

import { ApiError } from '../../api/api-error.ts'
import { plain } from '../plain.ts'

/** What somebody who stops or restores gives along. */
export interface ChangeInput {
  readonly reason: string | undefined
  readonly remindAfterSeconds: number | undefined
}

export interface ChangeDialogProps {
  readonly title: string
  readonly opened: boolean
  readonly onClose: () => void
  /** What is hit, or comes back: shown before it is confirmed. */
  readonly children: ReactNode
  readonly confirm: string
  /** Stops are red; restores are not. */
  readonly tone?: 'stop' | 'restore' | undefined
  /** `none`: it takes no reason. */
  readonly reason: 'required' | 'optional' | 'none'
  readonly withReminder?: boolean | undefined
  /** Only its buttons close it, since what it shows at the end is shown once. */
  readonly staysOpen?: boolean | undefined
  /** While what it hits is not known yet. */
  readonly waits?: boolean | undefined
  /** Does it, with the epochs of what `children` shows. What it answers is shown instead of the form. */
  readonly submit: (input: ChangeInput) => Promise<ReactNode>
  /** Asked when the form turned out to be older than what it is about: load that anew. */
  readonly onStale?: (() => void) | undefined
}

const REMINDERS = [
  { value: '', label: 'no reminder' },
  { value: '1800', label: 'in 30 minutes' },
  { value: '7200', label: 'in 2 hours' },
  { value: '86400', label: 'tomorrow' },
  { value: '604800', label: 'in a week' },
]

/** The one form for every stop and restore: what it hits, why, and what came of it. */
export function ChangeDialog(props: ChangeDialogProps) {
  const { title, opened, onClose, staysOpen = false } = props
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={title}
      size="lg"
      closeOnClickOutside={!staysOpen}
      closeOnEscape={!staysOpen}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {opened && <ChangeForm {...props} />}
    </Modal>
  )
}

function ChangeForm({
  children,
  confirm,
  tone = 'stop',
  reason: reasonIs,
  withReminder = false,
  waits = false,
  submit,
  onClose,
  onStale,
}: ChangeDialogProps) {
  const [reason, setReason] = useState('')
  const [remindAfter, setRemindAfter] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [result, setResult] = useState<ReactNode>()

  const send = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setError(undefined)
    try {
      setResult(
        (await submit({
          reason: reason.trim() === '' ? undefined : reason.trim(),
          remindAfterSeconds: remindAfter === '' ? undefined : Number(remindAfter),
        })) ?? <Text>Done.</Text>,
      )
    } catch (cause) {
      const failed = cause instanceof ApiError ? cause : asApiError(cause)
      setError(failed)
      if (failed.code === 'EPOCH_STALE') onStale?.()
    } finally {
      setBusy(false)
    }
  }

  if (result !== undefined) {
    return (
      <Stack>
        <div role="status">{result}</div>
        <Group justify="flex-end">
          <Button onClick={onClose} data-autofocus>
            Close
          </Button>
        </Group>
      </Stack>
    )
  }
  return (
    <form onSubmit={(event) => void send(event)}>
      <Stack>
        {children}
        {reasonIs !== 'none' && (
          <Textarea
            label="Reason"
            description={
              tone === 'stop'
                ? 'Everybody who is stopped by this, and the audit, will see it.'
                : 'It stays in the audit, for everybody who may read it.'
            }
            required={reasonIs === 'required'}
            maxLength={500}
            autosize
            minRows={2}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            data-autofocus
          />
        )}
        {withReminder && (
          <NativeSelect
            label="Remind"
            description="It stays stopped. Later than that it is listed as overdue."
            data={REMINDERS}
            value={remindAfter}
            onChange={(event) => setRemindAfter(event.currentTarget.value)}
          />
        )}
        {error !== undefined && <Refused error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" color={tone === 'stop' ? 'red' : 'teal'} loading={busy} disabled={waits}>
            {confirm}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

function Refused({ error }: { readonly error: ApiError }) {
  const stale = error.code === 'EPOCH_STALE'
  return (
    <Alert
      color="red"
      variant="outline"
      role="alert"
      title={stale ? 'Somebody else was faster. Nothing was changed.' : 'This did not work.'}
    >
      <Text size="sm">
        {stale
          ? 'What this form shows was changed after it was opened. It is loaded anew: look at it again before you go on.'
          : plain(error.message)}
      </Text>
      <Text size="xs" c="dimmed">
        <Code>{error.code}</Code> {error.requestId}
      </Text>
    </Alert>
  )
}

function asApiError(cause: unknown): ApiError {
  return new ApiError({ code: 'PAGE_FAILED', message: String(cause), status: 0, cause })
}
