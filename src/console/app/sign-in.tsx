import { Alert, Anchor, Center, Divider, Group, Paper, Stack, Text, Title } from '@mantine/core'

import { plain } from '../ui/plain.ts'
import { Mark } from './mark.tsx'
import { MailForm } from './mail-form.tsx'
import { KeyForm } from './key-form.tsx'

/** The way in. Whoever comes in is where they wanted to be: the address stays as it is. */
export function SignIn({ why }: { readonly why: string | undefined }) {
  return (
    <Center mih="100dvh" p="md" component="main">
      <Paper withBorder p={{ base: 'md', xs: 'xl' }} w="100%" maw={440}>
        <Stack>
          <Group gap="sm">
            <Mark size={32} />
            <Title order={1} size="h3">
              Sign in to holdpoint
            </Title>
          </Group>
          {why !== undefined && (
            <Alert color="orange" variant="outline" role="status" title="You are signed out">
              <Text size="sm">{plain(why)}</Text>
            </Alert>
          )}
          <KeyForm />
          <Divider label="or, as an owner of the org" labelPosition="center" />
          <MailForm />
          <Divider />
          <Text size="sm">
            In a hurry? The <Anchor href="/console/stop">stop page</Anchor> takes a stop key.
          </Text>
        </Stack>
      </Paper>
    </Center>
  )
}
