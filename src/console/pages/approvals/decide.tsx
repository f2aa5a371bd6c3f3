import { Alert, Button, Group, Stack, Text, Textarea, Title } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import type { ApprovalBody } from '../../../machineid/wire-approvals.ts'
import { call } from '../../api/call.ts'
import type { Output } from '../../api/routes.ts'
import { mayDecide } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { useDraft } from '../../ui/change/use-draft.ts'
import { focusTitle } from '../../ui/focus-title.ts'
import { prettyJson } from '../../ui/pretty-json.ts'
import { TextBox } from '../../ui/text-box.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { useNow } from '../../ui/when.tsx'
import { whatFollows, whyNot } from './approval-words.ts'
import { Countdown } from './countdown.tsx'

const MAX_MESSAGE = 2000

interface Shown {
  readonly approval: ApprovalBody
  /** The org's epoch when it was shown: with a newer one an approval is stale (G6). */
  readonly orgEpoch: number
}

/** Lets one call go on, exactly as it is shown, or never. */
export function Decide({ approval, orgEpoch }: Shown) {
  const session = useSession()
  const usage = useCall('usage', {}, { everyMs: 5000 })
  const nowMs = useNow(1000)
  const [asks, setAsks] = useState<'approve' | 'decline'>()
  // As it was when the form was opened, and then as it was when it was loaded anew, since somebody else was faster.
  const [openedAt, setOpenedAt] = useState<number>()
  const why = whyNot({
    approval,
    orgDisabled: usage.data?.org.disabled ?? false,
    mayDecide: mayDecide(session),
    kind: session.kind,
    nowMs,
  })
  const open = (wanted: 'approve' | 'decline') => {
    setOpenedAt(orgEpoch)
    setAsks(wanted)
  }
  const client = useQueryClient()
  const lookAgain = async () => {
    const queryKey = ['approval', { id: approval.approvalId }]
    await client.refetchQueries({ queryKey })
    setOpenedAt(client.getQueryData<Output<'approval'>>(queryKey)?.orgEpoch)
  }
  const close = () => {
    setAsks(undefined)
    // The button that opened it is gone with the decision.
    if (approval.state !== 'waiting') focusTitle()
  }
  return (
    <>
      {approval.state === 'waiting' && (
        <Stack gap="sm" component="section" aria-label="Decide">
          <Title order={2} size="h4">
            Decide
          </Title>
          {why !== undefined && (
            <Alert color="orange" variant="outline" title="This cannot be decided now">
              {why}
            </Alert>
          )}
          {mayDecide(session) && (
            <Group gap="sm">
              <Button color="teal.9" disabled={why !== undefined} onClick={() => open('approve')}>
                Approve …
              </Button>
              <Button
                color="red"
                variant="outline"
                disabled={why !== undefined}
                onClick={() => open('decline')}
              >
                Decline …
              </Button>
            </Group>
          )}
        </Stack>
      )}
      {(['approve', 'decline'] as const).map((wanted) => (
        <DecideDialog
          key={wanted}
          approval={approval}
          orgEpoch={openedAt ?? orgEpoch}
          onStale={() => void lookAgain()}
          why={why}
          opened={asks === wanted}
          approve={wanted === 'approve'}
          onClose={close}
        />
      ))}
    </>
  )
}

function DecideDialog({
  approval,
  orgEpoch,
  why,
  opened,
  approve,
  onClose,
  onStale,
}: Shown & {
  readonly why: string | undefined
  readonly opened: boolean
  readonly approve: boolean
  readonly onClose: () => void
  readonly onStale: () => void
}) {
  const client = useQueryClient()
  const [message, setMessage] = useDraft(`Message of ${approve ? 'an approval' : 'a refusal'}`)
  const reload = () => {
    for (const name of ['approval', 'approvals', 'usage']) void client.invalidateQueries({ queryKey: [name] })
  }
  const { approvalId: id, digest, tool, surface, argumentsJson, expiresAt } = approval
  const said = message.trim()
  return (
    <ChangeDialog
      title={approve ? 'Approve this call' : 'Decline this call'}
      opened={opened}
      onClose={onClose}
      confirm={approve ? 'Approve' : 'Decline'}
      tone={approve ? 'restore' : 'stop'}
      reason="none"
      waits={why !== undefined}
      onStale={onStale}
      submit={async () => {
        try {
          const decided = await call('approvalDecide', {
            id,
            digest,
            approve,
            ifEpoch: orgEpoch,
            ...(!approve && said !== '' && { message: said }),
          })
          return <Text>{`${approve ? 'Approved' : 'Declined'}. ${whatFollows(decided.approval) ?? ''}`}</Text>
        } finally {
          // Whatever came of it: somebody else may have decided meanwhile.
          reload()
        }
      }}
    >
      {why !== undefined && (
        <Alert color="orange" variant="outline" role="alert">
          {why}
        </Alert>
      )}
      <Text size="sm">
        <Untrusted text={tool} mono /> on <Untrusted text={surface} />, with exactly these arguments:
      </Text>
      <TextBox label={`Arguments to ${approve ? 'approve' : 'decline'}`} text={prettyJson(argumentsJson)} />
      <Countdown expiresAt={expiresAt} />
      {approve ? (
        <Text size="sm">It runs once, and still asks at each of its hold points.</Text>
      ) : (
        <Textarea
          label="Message to the model"
          description={`Optional, at most ${MAX_MESSAGE.toLocaleString('en')} characters. The model sees it, and so does whoever started the run.`}
          maxLength={MAX_MESSAGE}
          autosize
          minRows={2}
          maxRows={10}
          value={message}
          onChange={(event) => setMessage(event.currentTarget.value)}
        />
      )}
    </ChangeDialog>
  )
}
