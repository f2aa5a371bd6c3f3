import { Alert, Button, Stack, Text, Title } from '@mantine/core'

import type { ReactNode } from 'react'

import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { Fact, Facts } from '../../ui/facts.tsx'
import { idOfPath } from '../../ui/id-of-path.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { Page } from '../../ui/page.tsx'
import { saveFile } from '../../ui/save-file.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime } from '../../ui/when.tsx'
import { LatencyPlot } from './latency-plot.tsx'
import { MeasureTable } from './measure-table.tsx'
import { Proof } from './proof.tsx'
import { StepTable } from './step-table.tsx'

type Signed = Output<'drill'>['drill']

/** The report of one drill, as the org signed it. */
export function Drill() {
  const id = idOfPath(window.location.pathname)
  const answer = useCall('drill', { id })
  const signed = answer.data?.drill
  return (
    <Page title="Drill" actions={signed !== undefined && <Download signed={signed} />}>
      <PageLink to="/drills">All drills</PageLink>
      <Answer of={answer}>{({ drill }) => <Report signed={drill} />}</Answer>
    </Page>
  )
}

function Download({ signed }: { readonly signed: Signed }) {
  const { drillId } = signed.report
  return (
    <Button
      variant="default"
      onClick={() =>
        saveFile(`drill-${drillId}.json`, 'application/json', `${JSON.stringify(signed, null, 2)}\n`)
      }
    >
      Download the signed report
    </Button>
  )
}

function Report({ signed }: { readonly signed: Signed }) {
  const { report } = signed
  return (
    <Stack gap="lg">
      <Verdict report={report} />
      <Facts cols={{ base: 1, sm: 2, lg: 3 }}>
        <Fact name="Drill">
          <Untrusted text={report.drillId} mono />
        </Fact>
        <Fact name="From">{absoluteTime(report.startedAt)}</Fact>
        <Fact name="To">{absoluteTime(report.endedAt)}</Fact>
        <Fact name={report.target.kind === 'canary' ? 'Stopped a canary' : 'Stopped a real surface'}>
          {report.target.deviceIds.map((deviceId) => (
            <div key={deviceId}>
              <Untrusted text={deviceId} mono />
            </div>
          ))}
        </Fact>
        <Fact name="Calls per second">{report.callsPerSecond}</Fact>
        <Fact name="Tool servers">
          {report.toolServers.map(({ url, replica, stopStream }) => (
            <div key={`${url} ${replica}`}>
              <Untrusted text={url} mono /> <Untrusted text={replica} mono />, stop stream {stopStream}
            </div>
          ))}
        </Fact>
      </Facts>
      <Part title="What it did">
        <StepTable steps={report.steps} />
      </Part>
      <Part title="How fast what was in flight ended">
        <LatencyPlot endedMs={report.endedMs} />
      </Part>
      <Part title="What was measured">
        <MeasureTable steps={report.steps} />
        <Text size="sm" maw={820}>
          All times are of the clock of whoever ran it. Started counts calls that were sent after a stop was
          acked and began all the same: it must be 0 (G1). The window is of calls that were sent before it
          (G3). Times to the end are upper bounds: the way back of the answer is in them.
        </Text>
      </Part>
      <Part title="Proof">
        <Proof signed={signed} />
      </Part>
    </Stack>
  )
}

function Part({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <Stack component="section" gap="xs" aria-label={title}>
      <Title order={2} size="h4">
        {title}
      </Title>
      {children}
    </Stack>
  )
}

function Verdict({ report: { held, steps } }: { readonly report: Signed['report'] }) {
  const started = steps
    .flatMap(({ measures }) => measures)
    .reduce((sum, { startedAfterAck }) => sum + startedAfterAck, 0)
  if (started > 0) {
    return (
      <Alert color="red" variant="outline" title="■ A stop did not hold">
        <Text size="sm">
          {started} {started === 1 ? 'call' : 'calls'} that {started === 1 ? 'was' : 'were'} sent after an ack
          started.
        </Text>
      </Alert>
    )
  }
  return held ? (
    <Alert color="green" variant="outline" title="✓ Every step held">
      <Text size="sm">No call that was sent after the ack of a stop started.</Text>
    </Alert>
  ) : (
    <Alert color="red" variant="outline" title="■ Not every step held">
      <Text size="sm">So this proves nothing. The steps say what went wrong.</Text>
    </Alert>
  )
}
