import { Badge, Divider, NavLink } from '@mantine/core'
import { Link, useLocation } from 'wouter'

import { useSession } from '../api/session-state.ts'
import { useCall } from '../api/use-call.ts'
import { pagesOf } from './pages.ts'
import { useUsage } from './use-org.ts'

const EVERY_MS = 10_000

export function Navigation({ onChosen }: { readonly onChosen: () => void }) {
  const session = useSession()
  const [location] = useLocation()
  const { data: usage } = useUsage()
  const waiting = useCall('approvals', { state: 'waiting', limit: '1' }, { everyMs: EVERY_MS })
  const counts: Readonly<Record<string, readonly [number, string]>> = {
    '/stops': [usage?.overdue ?? 0, 'overdue'],
    '/approvals': [waiting.data?.waiting ?? 0, 'waiting'],
  }
  return (
    <>
      {pagesOf(session).map(({ path, name }) => {
        const [number, what] = counts[path] ?? [0, '']
        return (
          <NavLink
            key={path}
            component={Link}
            href={path}
            label={name}
            onClick={onChosen}
            active={isAt(path, location)}
            aria-current={isAt(path, location) ? 'page' : undefined}
            rightSection={
              number > 0 && (
                <Badge color="red" size="sm" variant="filled" aria-label={`${number} ${what}`}>
                  {number}
                </Badge>
              )
            }
          />
        )
      })}
      <Divider my="xs" />
      <NavLink component="a" href="/console/stop" label="Stop page, for phones" />
    </>
  )
}

function isAt(path: string, location: string): boolean {
  return path === '/' ? location === '/' : location === path || location.startsWith(`${path}/`)
}
