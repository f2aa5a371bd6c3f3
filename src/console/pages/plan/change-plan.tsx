import { Stack, Text, Title } from '@mantine/core'

import { PATHS } from '../../../machineid/paths.ts'
import { TextBox } from '../../ui/text-box.tsx'

/** The plan is the platform's to set: no key of the org may, and so nobody who is signed in here. */
export function ChangePlan({ orgId }: { readonly orgId: string }) {
  const url = `${window.location.origin}${PATHS.orgPlan}`
  return (
    <Stack component="section" aria-labelledby="change" gap="xs" maw={760}>
      <Title order={2} size="h4" id="change">
        Changing the plan
      </Title>
      <Text size="sm">
        No key of the org may change its plan, so it is not offered here. Whoever holds the platform token
        does it; with <code>?preview=true</code> the call says what it would hit and changes nothing:
      </Text>
      <TextBox
        label="The call that sets the plan"
        text={[
          `curl '${url}?preview=true' \\`,
          '  -H "authorization: Bearer $PLATFORM_TOKEN" -H \'content-type: application/json\' \\',
          `  -d '{"orgId":"${orgId}","tier":"pro"}'`,
        ].join('\n')}
      />
      <Text size="sm">Or from a terminal, with PLATFORM_TOKEN set:</Text>
      <TextBox
        label="The command that sets the plan"
        text={`npx holdpoint org plan pro --org ${orgId} --dry-run`}
      />
    </Stack>
  )
}
