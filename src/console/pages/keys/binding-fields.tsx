import { Alert, Button, Group, List, Stack, Text, Textarea } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'
import { count } from '../../ui/count.ts'
import { plain } from '../../ui/plain.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import { bindingLines, judgeBindings, suggestedBindings } from './bindings.ts'

const SUGGESTED = 8

/** Which devices a runtime key may ask for. */
export function BindingFields({
  text,
  onChange,
}: {
  readonly text: string
  readonly onChange: (text: string) => void
}) {
  const devices = useCall('devices', {})
  const deviceIds = (devices.data?.devices ?? []).map(({ deviceId }) => deviceId)
  const lines = bindingLines(text)
  const suggested = suggestedBindings(deviceIds, SUGGESTED + lines.length).filter(
    (pattern) => !lines.includes(pattern),
  )
  return (
    <Stack gap="xs">
      <Textarea
        label="Devices it may ask for"
        description="Device IDs or patterns, one a line. * stands for a whole segment; at the end for one or more. Give each process only its own, so that one that is stopped cannot go on as another."
        placeholder="openai-agent:prod:*:01"
        required
        autosize
        minRows={3}
        maxRows={10}
        spellCheck={false}
        classNames={{ input: 'mono' }}
        value={text}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
      {suggested.length > 0 && (
        <Group gap={6} role="group" aria-label="Suggestions">
          {suggested.slice(0, SUGGESTED).map((pattern) => (
            <Button
              key={pattern}
              size="compact-sm"
              variant="default"
              maw="100%"
              leftSection="+"
              aria-label={`Add ${plain(pattern)}`}
              onClick={() => onChange([...lines, pattern].join('\n'))}
            >
              <Untrusted text={pattern} mono />
            </Button>
          ))}
        </Group>
      )}
      <List size="sm" aria-label="Devices of each line" listStyleType="none">
        {judgeBindings(lines, deviceIds).map(({ text: line, matches, problem }) => (
          <List.Item key={line}>
            <Untrusted text={line} mono />:{' '}
            {problem === undefined ? (
              `names ${count(matches, 'device')} that ${matches === 1 ? 'is' : 'are'} registered`
            ) : (
              <Text span size="sm" fw={600}>
                {problem}
              </Text>
            )}
          </List.Item>
        ))}
      </List>
      {lines.includes('*') && (
        <Alert color="orange" variant="outline" title="* is every device, those to come too">
          <Text size="sm">
            Whoever holds this key can ask for any device: a process whose device was stopped can go on under
            another&apos;s ID. Bind it to what it needs.
          </Text>
        </Alert>
      )}
    </Stack>
  )
}
