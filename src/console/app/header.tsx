import { Burger, Group, Text } from '@mantine/core'

import { useSession } from '../api/session-state.ts'
import { StateBadge } from '../ui/state-badge.tsx'
import { Untrusted } from '../ui/untrusted.tsx'
import { AccountMenu } from './account-menu.tsx'
import { Mark } from './mark.tsx'
import { StopEverything } from './stop-everything.tsx'
import { useOrgState } from './use-org.ts'

export const HEADER_HEIGHT = { base: 92, sm: 56 }

/** On a phone in two rows: where one is and what one can do, and under it how things stand. */
export function Header({ opened, toggle }: { readonly opened: boolean; readonly toggle: () => void }) {
  const { orgId } = useSession()
  const { look, words } = useOrgState()
  return (
    <div className="header">
      <Group gap="xs" wrap="nowrap">
        <Burger
          opened={opened}
          onClick={toggle}
          hiddenFrom="sm"
          size="sm"
          aria-label="Pages"
          aria-expanded={opened}
          aria-controls="pages"
        />
        <Mark size={26} />
        <Text fw={700} visibleFrom="xs">
          holdpoint
        </Text>
      </Group>
      <Group gap="sm" wrap="nowrap" className="header-state">
        <StateBadge look={look}>{words}</StateBadge>
        <Text size="xs" className="header-org" title="Org">
          <Untrusted text={orgId} mono />
        </Text>
      </Group>
      <Group gap="xs" wrap="nowrap" className="header-actions">
        <StopEverything />
        <AccountMenu />
      </Group>
    </div>
  )
}
