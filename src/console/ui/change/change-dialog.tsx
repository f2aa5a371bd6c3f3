import { Alert, Button, Code, Group, Modal, NativeSelect, Stack, Text, Textarea } from '@mantine/core'
import { useState, type FormEvent, type ReactNode } from 'react'

import { ApiError, isOutcomeUnknown } from '../../api/api-error.ts'
import { plain } from '../plain.ts'
import { useDraft } from './use-draft.ts'

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
  const [busy, setBusy] = useState(false)
  // What was sent is waited for, so that what came of it is told.
  const close = () => !busy && onClose()
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      size="lg"
      // A slip of the hand would lose what was typed.
      closeOnClickOutside={false}
      closeOnEscape={!staysOpen}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {opened && <ChangeForm {...props} onClose={close} busy={busy} setBusy={setBusy} />}
    </Modal>
  )
}

function ChangeForm({
  title,
  children,
  confirm,
  tone = 'stop',
  reason: reasonIs,
  withReminder = false,
  waits = false,
  submit,
  onClose,
  onStale,
  busy,
  setBusy,
}: ChangeDialogProps & { readonly busy: boolean; readonly setBusy: (busy: boolean) => void }) {
  const [reason, setReason] = useDraft(title)
  const [remindAfter, setRemindAfter] = useState('')
  const [error, setError] = useState<ApiError>()
  const [result, setResult] = useState<ReactNode>()

  const send = async (event: FormEvent) => {
    event.preventDefault()
    if (busy) return
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
          <Button variant="default" onClick={onClose} disabled={busy}>
            Cancel
          </Button>
          <Button type="submit" color={tone === 'stop' ? 'red' : 'teal.9'} loading={busy} disabled={waits}>
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
      title={
        stale
          ? 'Somebody else was faster. Nothing was changed.'
          : isOutcomeUnknown(error)
            ? 'Whether this was done is not known.'
            : 'This did not work.'
      }
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
