import { AppShell } from '@mantine/core'
import { useDisclosure, useWindowEvent } from '@mantine/hooks'
import { Suspense } from 'react'
import { Route, Switch } from 'wouter'

import { useConnection } from '../api/connection.ts'
import { useLiveUpdates } from '../api/live.ts'
import { mayReadEvidence } from '../api/roles.ts'
import { useSession } from '../api/session-state.ts'
import { Loading } from '../ui/answer.tsx'
import { Banners } from './banners.tsx'
import { Header, HEADER_HEIGHT } from './header.tsx'
import { Navigation } from './navigation.tsx'
import { NoSuchPage } from './no-such-page.tsx'
import { detailsOf, pagesOf } from './pages.ts'
import { useAskAgainWhenBack } from './use-org.ts'

export function Shell() {
  const session = useSession()
  const [opened, { toggle, close }] = useDisclosure()
  const { reachable } = useConnection()
  useLiveUpdates(mayReadEvidence(session))
  useAskAgainWhenBack()
  useWindowEvent('keydown', ({ key }) => {
    if (key === 'Escape') close()
  })
  return (
    <AppShell
      header={{ height: HEADER_HEIGHT }}
      navbar={{ width: 200, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding={{ base: 'sm', sm: 'lg' }}
    >
      <a href="#content" className="skip-link">
        Skip to the content
      </a>
      <AppShell.Header>
        <Header opened={opened} toggle={toggle} />
      </AppShell.Header>
      <AppShell.Navbar p="xs" id="pages" aria-label="Pages" className={opened ? undefined : 'nav-closed'}>
        <Navigation onChosen={close} />
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <Banners />
        <div className={reachable ? undefined : 'stale'}>
          <Suspense fallback={<Loading />}>
            <Switch>
              {[...pagesOf(session), ...detailsOf(session)].map(({ path, page }) => (
                <Route key={path} path={path} component={page} />
              ))}
              <Route component={NoSuchPage} />
            </Switch>
          </Suspense>
        </div>
      </AppShell.Main>
    </AppShell>
  )
}
