import {
  Alert,
  Button,
  Group,
  ScrollArea,
  SegmentedControl,
  Stack,
  Table,
  Text,
  Textarea,
} from '@mantine/core'
import { useState } from 'react'

import { count } from '../../../ui/count.ts'
import { plain } from '../../../ui/plain.ts'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { useCopy } from '../../../ui/use-copy.ts'
import { countOutcomes, OUTCOMES, resultsText, whyNot, type DeviceResult } from '../batch.ts'
import { deniedByInWords } from '../device-state.ts'

const SHOWN = 200

/** What became of each device. */
export function BatchResults({
  results,
  verb,
  onAgain,
}: {
  readonly results: readonly DeviceResult[]
  /** `revoked` */
  readonly verb: string
  readonly onAgain: (deviceIds: readonly string[]) => void
}) {
  const { done, refused, unknown, not_tried } = countOutcomes(results)
  const failures = results.filter(({ outcome }) => outcome !== 'done')
  const [show, setShow] = useState(failures.length > 0 ? 'failures' : 'all')
  const listed = show === 'all' ? results : failures
  const parts = [
    refused > 0 && `${count(refused, 'device')} refused`,
    unknown > 0 && `${count(unknown, 'device')} without an answer, which may have been ${verb}`,
    not_tried > 0 && `${count(not_tried, 'device')} not tried`,
  ].filter((part) => part !== false)
  return (
    <Stack gap="sm">
      <Alert
        color={failures.length === 0 ? 'teal' : 'red'}
        variant="outline"
        title={`${done.toLocaleString('en')} of ${count(results.length, 'device')} ${verb}`}
      >
        {parts.length > 0 && <Text size="sm">{`${parts.join('; ')}.`}</Text>}
      </Alert>
      <Group justify="space-between" gap="xs">
        {failures.length > 0 && (
          <SegmentedControl
            size="xs"
            aria-label="Show"
            value={show}
            onChange={setShow}
            data={[
              { value: 'failures', label: `Not done (${failures.length.toLocaleString('en')})` },
              { value: 'all', label: `All (${results.length.toLocaleString('en')})` },
            ]}
          />
        )}
        <CopyButton text={resultsText(results)} />
        {failures.length > 0 && (
          <Button
            size="compact-sm"
            variant="default"
            onClick={() => onAgain(failures.map((f) => f.deviceId))}
          >
            Try those again
          </Button>
        )}
      </Group>
      <ScrollArea.Autosize
        mah={260}
        type="auto"
        viewportProps={{ tabIndex: 0, role: 'region', 'aria-label': 'Results' }}
      >
        <Table fz="xs" aria-label="Results">
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Device</Table.Th>
              <Table.Th scope="col">Result</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {listed.slice(0, SHOWN).map((result) => (
              <Table.Tr key={result.deviceId}>
                <Table.Td>
                  <Untrusted text={result.deviceId} mono />
                </Table.Td>
                <Table.Td>
                  {OUTCOMES[result.outcome]}
                  {result.outcome !== 'done' && ` ${plain(whyNot(result))}`}
                  {(result.stillDeniedBy ?? []).length > 0 &&
                    `, still denied: ${deniedByInWords(result.stillDeniedBy ?? [])}`}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </ScrollArea.Autosize>
      {listed.length > SHOWN && (
        <Text size="xs">
          and {(listed.length - SHOWN).toLocaleString('en')} more: copy the results to see them.
        </Text>
      )}
    </Stack>
  )
}

/** Where the browser keeps the clipboard to itself (a page without TLS), the text is shown to be copied by hand. */
function CopyButton({ text }: { readonly text: string }) {
  const { copied, copy } = useCopy(text)
  if (copied === 'refused') return <Textarea label="Results" readOnly value={text} rows={4} w="100%" />
  return (
    <Button size="compact-sm" variant="default" onClick={copy}>
      {copied === 'copied' ? 'Copied' : 'Copy results'}
    </Button>
  )
}
