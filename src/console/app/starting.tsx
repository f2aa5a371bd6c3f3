import { Alert, Button, Center, Code, Group, Loader, Stack, Text } from '@mantine/core'

import type { ApiError } from '../api/api-error.ts'
import { plain } from '../ui/plain.ts'
import { WAY_ROUND } from '../ui/way-round.ts'

/** Before it is known who is signed in. That nobody answers is said, and not taken for being signed out. */
export function Starting({
  trouble,
  tryAgain,
}: {
  readonly trouble: ApiError | undefined
  readonly tryAgain: () => void
}) {
  return (
    <Center mih="100dvh" p="md" component="main">
      {trouble === undefined ? (
        <Loader aria-label="Loading" role="status" />
      ) : (
        <Alert
          color="red"
          variant="outline"
          role="alert"
          maw={560}
          title={
            trouble.status === 0
              ? 'The console cannot reach the control plane.'
              : 'The control plane does not say who is signed in.'
          }
        >
          <Stack gap="sm">
            <Text size="sm">
              {trouble.status === 0
                ? `Whether anything is stopped is not known here. Your session is as it was. This page tries again every few seconds. ${WAY_ROUND}`
                : plain(trouble.message)}
            </Text>
            <Group gap="md">
              <Text size="xs">
                <Code>{trouble.code}</Code> {trouble.requestId}
              </Text>
              <Button size="compact-sm" variant="default" onClick={tryAgain}>
                Try again now
              </Button>
            </Group>
          </Stack>
        </Alert>
      )}
    </Center>
  )
}
