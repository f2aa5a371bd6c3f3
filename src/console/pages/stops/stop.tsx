import { Alert, List, Stack, Text, Title } from '@mantine/core'
import type { ReactNode } from 'react'

import type { StopBody } from '../../../machineid/wire-stops.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { Fact, Facts } from '../../ui/facts.tsx'
import { idOfPath } from '../../ui/id-of-path.ts'
import { Page } from '../../ui/page.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime, When } from '../../ui/when.tsx'
import { Who } from '../../ui/who.tsx'
import { DeviceLines } from './device-lines.tsx'
import { Restore } from './restore.tsx'
import { StopCalls } from './stop-calls.tsx'
import { StopReplicas } from './stop-replicas.tsx'
import { confirmationOf, isOpen, stopTitle, whatToDo } from './stop-words.ts'

export function Stop() {
  const id = idOfPath(window.location.pathname)
  if (/^\d{1,16}$/.test(id)) return <OneStop key={id} epoch={Number(id)} />
  return (
    <Page title="Stop">
      <Empty title="This is no epoch.">
        A stop is named by the epoch that it raised, a whole number.{' '}
        <PageLink to="/stops">All stops</PageLink>
      </Empty>
    </Page>
  )
}

function OneStop({ epoch }: { readonly epoch: number }) {
  const history = useCall(
    'stopHistory',
    { epoch },
    { everyMs: (last) => (last?.stops.some(isOpen) ? 2000 : 10_000) },
  )
  const stop = history.data?.stops[0]
  return (
    <Page title={stop === undefined ? `Stop in epoch ${epoch}` : plain(stopTitle(stop))}>
      <Answer of={history}>
        {() =>
          stop === undefined ? (
            <Empty title={`The org has no stop of epoch ${epoch}.`}>
              It may have been a restore, or of another org. <PageLink to="/stops">All stops</PageLink>
            </Empty>
          ) : (
            <StopSections stop={stop} />
          )
        }
      </Answer>
    </Page>
  )
}

function StopSections({ stop }: { readonly stop: StopBody }) {
  const { look, short, share, told } = confirmationOf(stop)
  const todo = whatToDo(stop)
  const isSome = stop.deviceCount > 1
  return (
    <Stack gap="xl">
      <Facts>
        <Fact name="State">
          <StateBadge look={look}>{short}</StateBadge>
        </Fact>
        <Fact name="When">
          {absoluteTime(stop.at)} (<When at={stop.at} />)
        </Fact>
        <Fact name="By">
          <Who by={stop.by} />
        </Fact>
        <Fact name="Epoch">{stop.epoch}</Fact>
        <Fact name="Reason">{stop.reason === null ? 'none given' : <Untrusted text={stop.reason} />}</Fact>
      </Facts>
      {isSome && (
        <Section title={`Devices (${stop.deviceCount.toLocaleString('en')})`}>
          <DeviceLines
            label="Devices that were stopped"
            devices={stop.deviceIds.map((deviceId) => ({ deviceId }))}
          />
          {stop.deviceCount > stop.deviceIds.length && (
            <Text size="sm">
              The first {stop.deviceIds.length} of {stop.deviceCount.toLocaleString('en')}. All of them are
              looked at under Restore.
            </Text>
          )}
        </Section>
      )}
      <Section title="Confirmation">
        <div role="status">
          <Text size="sm">
            {share !== null && <b>{share}. </b>}
            {told}
          </Text>
        </div>
        {todo.length > 0 && (
          <Alert color="orange" variant="outline" title="What to do">
            <List size="sm" spacing={4}>
              {todo.map((step) => (
                <List.Item key={step}>{step}</List.Item>
              ))}
            </List>
          </Alert>
        )}
        {stop.replicas.length > 0 && <StopReplicas stop={stop} />}
        <StopCalls stop={stop} />
      </Section>
      <Section title="Restore">
        <Restore stop={stop} />
      </Section>
    </Stack>
  )
}

function Section({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <Stack gap="sm" component="section" aria-label={title}>
      <Title order={2} size="h4">
        {title}
      </Title>
      {children}
    </Stack>
  )
}
