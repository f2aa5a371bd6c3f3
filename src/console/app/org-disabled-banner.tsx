import { Alert, Button, Group, Text } from '@mantine/core'

import { mayManage } from '../api/roles.ts'
import type { Output } from '../api/routes.ts'
import { useSession } from '../api/session-state.ts'
import { OrgStop } from '../ui/org-stop.tsx'

export function OrgDisabledBanner({
  org,
  onRestore,
}: {
  readonly org: Output<'usage'>['org']
  readonly onRestore: () => void
}) {
  const mayRestoreIt = mayManage(useSession())
  return (
    <Alert
      color="red"
      variant="filled"
      role="alert"
      title="The org is disabled: nothing is allowed, on any device."
    >
      <Group justify="space-between" gap="sm">
        <div>
          <Text size="sm" component="div">
            <OrgStop org={org} />
          </Text>
          {!mayRestoreIt && <Text size="sm">It takes an admin key to enable it.</Text>}
        </div>
        {mayRestoreIt && (
          <Button variant="white" color="dark" size="xs" onClick={onRestore}>
            Enable the org
          </Button>
        )}
      </Group>
    </Alert>
  )
}
