import { Alert, Code, List, Stack, Text } from '@mantine/core'

import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Failed } from '../../ui/answer.tsx'
import { Copyable } from '../../ui/copyable.tsx'
import { count } from '../../ui/count.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'

type Effect = Output<'unknownEffects'>['effects'][number]

/** Effects of which nobody can tell whether they happened. Nothing stands here while none is known. */
export function UnknownEffects({ runId }: { readonly runId?: string }) {
  const answer = useCall('unknownEffects', {}, { everyMs: 5000 })
  const effects = (answer.data?.effects ?? []).filter(
    (effect) => runId === undefined || effect.runId === runId,
  )
  const { data, error } = answer
  if (effects.length === 0) {
    return error === null ? null : <Failed error={error} stale={data !== undefined} />
  }
  return (
    <Alert
      color="red"
      variant="outline"
      title={`Of ${count(effects.length, 'effect')} nobody knows whether ${effects.length === 1 ? 'it' : 'they'} happened`}
    >
      <Stack gap="md">
        {effects.map((effect) => (
          <UnknownEffect
            key={`${effect.replica} ${effect.id}`}
            effect={effect}
            linked={runId === undefined}
          />
        ))}
        <WhatToDo />
      </Stack>
    </Alert>
  )
}

function UnknownEffect({ effect, linked }: { readonly effect: Effect; readonly linked: boolean }) {
  const { id, effect: name, kind, tool, runId, callId, changedAt, replica } = effect
  return (
    <Stack gap={4}>
      <Text size="sm">
        <Untrusted text={name} mono /> (<Untrusted text={kind} />) of tool <Untrusted text={tool} mono />,{' '}
        <When at={changedAt} />, told by <Untrusted text={replica} mono />
        {callId !== null && (
          <>
            , call <Untrusted text={callId} mono />
          </>
        )}
        {runId !== null && linked && (
          <>
            , run{' '}
            <PageLink to={`/runs/${encodeURIComponent(runId)}`}>
              <Untrusted text={runId} mono />
            </PageLink>
          </>
        )}
      </Text>
      <Copyable text={id} what="the id of the effect" />
      {runId !== null && (
        <Code block>
          npx holdpoint runs show <Untrusted text={shellWord(runId)} />
        </Code>
      )}
    </Stack>
  )
}

function WhatToDo() {
  return (
    <List size="sm" spacing={4} type="ordered">
      <List.Item>It is never repeated blindly. Look at the run with the command above.</List.Item>
      <List.Item>
        Look at the far side (the bank, the mailbox, the record) by the id above: it was given to it as the
        idempotency key or Message-ID.
      </List.Item>
      <List.Item>
        Or let its tool server ask: <Code>POST /effects/ID/reconcile</Code>. Then say what happened:{' '}
        <Code>POST /effects/ID/settle</Code> with <Code>done</Code>, or <Code>failed</Code>, which frees it to
        be done again. Both take an approver’s token; docs/operating.md has them ready to copy.
      </List.Item>
    </List>
  )
}

/** One word for a shell, whatever is in it. */
function shellWord(text: string): string {
  return /^[A-Za-z0-9._:-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
