import { AppShell } from '@mantine/core'
import { useDisclosure, useWindowEvent } from '@mantine/hooks'
import { Suspense, useEffect } from 'react'
import { Route, Switch, useLocation } from 'wouter'

import { useConnection } from '../api/connection.ts'
import { useLiveUpdates } from '../api/live.ts'
import { mayReadEvidence } from '../api/roles.ts'
import { useSession } from '../api/session-state.ts'
import { Loading } from '../ui/answer.tsx'
import { Banners } from './banners.tsx'
import { Header, HEADER_HEIGHT } from './header.tsx'
import { Navigation } from './navigation.tsx'
import { NoSuchPage } from './no-such-page.tsx'
import { PageBoundary } from './page-boundary.tsx'
import { detailsOf, loadPages, pagesOf } from './pages.ts'
import { useAskAgainWhenBack } from './use-org.ts'

/** The page that somebody wants comes first. */
const LOAD_AFTER_MS = 2000

export function Shell() {
  const session = useSession()
  const [opened, { toggle, close }] = useDisclosure()
  const { reachable } = useConnection()
  const [location] = useLocation()
  useLiveUpdates(mayReadEvidence(session))
  useAskAgainWhenBack()
  useEffect(() => {
    const timer = window.setTimeout(loadPages, LOAD_AFTER_MS)
    return () => window.clearTimeout(timer)
  }, [])
  useWindowEvent('keydown', ({ key }) => {
    if (key === 'Escape') close()
  })
  return (
    <AppShell
      header={{ height: HEADER_HEIGHT }}
      navbar={{ width: 200, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding={{ base: 'sm', sm: 'lg' }}
      transitionDuration={0}
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
          <PageBoundary key={location}>
            <Suspense fallback={<Loading />}>
              <Switch>
                {[...pagesOf(session), ...detailsOf(session)].map(({ path, page }) => (
                  <Route key={path} path={path} component={page} />
                ))}
                <Route component={NoSuchPage} />
              </Switch>
            </Suspense>
          </PageBoundary>
        </div>
      </AppShell.Main>
    </AppShell>
  )
}
