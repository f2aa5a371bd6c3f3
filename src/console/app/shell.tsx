import { AppShell, Burger, Group, NavLink, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { Suspense } from 'react'
import { Link, Route, Switch, useLocation } from 'wouter'

import { useLiveUpdates } from '../api/live.ts'
import { mayReadEvidence } from '../api/roles.ts'
import { useSession } from '../api/session-state.ts'
import { Empty, Loading } from '../ui/answer.tsx'
import { DETAILS, pagesOf } from './pages.ts'

export function Shell() {
  const session = useSession()
  const [opened, { toggle, close }] = useDisclosure()
  const [location] = useLocation()
  useLiveUpdates(mayReadEvidence(session))
  const pages = pagesOf(session)
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 200, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding="lg"
    >
      <AppShell.Header>
        <Group h="100%" px="md">
          <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Pages" />
          <Text fw={700}>holdpoint</Text>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs">
        {pages.map(({ path, name }) => (
          <NavLink
            key={path}
            component={Link}
            href={path}
            label={name}
            onClick={close}
            active={path === '/' ? location === '/' : location.startsWith(path)}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main>
        <Suspense fallback={<Loading />}>
          <Switch>
            {[...pages, ...DETAILS].map(({ path, page }) => (
              <Route key={path} path={path} component={page} />
            ))}
            <Route>
              <Empty title="There is no such page.">Choose one on the left.</Empty>
            </Route>
          </Switch>
        </Suspense>
      </AppShell.Main>
    </AppShell>
  )
}
