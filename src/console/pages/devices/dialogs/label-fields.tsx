import { Button, Fieldset, Group, Stack, Text, TextInput } from '@mantine/core'

export interface LabelField {
  readonly key: number
  readonly name: string
  readonly value: string
}

/** Those that have a name; nothing where there are none. */
export function labelsOf(fields: readonly LabelField[]): { readonly labels?: Record<string, string> } {
  const given = fields.filter(({ name, value }) => name !== '' || value !== '')
  return given.length === 0
    ? {}
    : { labels: Object.fromEntries(given.map(({ name, value }) => [name, value])) }
}

export function LabelFields({
  labels,
  change,
  error,
}: {
  readonly labels: readonly LabelField[]
  readonly change: (labels: readonly LabelField[]) => void
  readonly error: string | undefined
}) {
  const set = (key: number, patch: Partial<LabelField>) =>
    change(labels.map((label) => (label.key === key ? { ...label, ...patch } : label)))
  return (
    <Fieldset legend="Labels" variant="unstyled">
      <Stack gap="xs" align="flex-start">
        {labels.map(({ key, name, value }, index) => (
          <Group key={key} gap="xs" wrap="nowrap" w="100%">
            <TextInput
              aria-label={`Name of label ${index + 1}`}
              placeholder="team"
              value={name}
              onChange={(event) => set(key, { name: event.currentTarget.value })}
              maxLength={64}
              flex={1}
              error={error !== undefined}
            />
            <TextInput
              aria-label={`Value of label ${index + 1}`}
              placeholder="billing"
              value={value}
              onChange={(event) => set(key, { value: event.currentTarget.value })}
              maxLength={256}
              flex={1}
              error={error !== undefined}
            />
            <Button
              variant="default"
              size="compact-sm"
              aria-label={`Remove label ${index + 1}`}
              onClick={() => change(labels.filter((label) => label.key !== key))}
            >
              Remove
            </Button>
          </Group>
        ))}
        {error !== undefined && (
          <Text size="xs" c="var(--mantine-color-error)" role="alert">
            {error}
          </Text>
        )}
        <Button
          variant="default"
          size="compact-sm"
          onClick={() => change([...labels, { key: (labels.at(-1)?.key ?? 0) + 1, name: '', value: '' }])}
        >
          Add a label
        </Button>
      </Stack>
    </Fieldset>
  )
}
