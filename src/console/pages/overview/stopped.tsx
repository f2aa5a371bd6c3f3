import { Anchor, Stack, Text } from '@mantine/core'
import { Link } from 'wouter'

import { isPlanActive } from '../../app/org-state.ts'
import { useIsCurrent, useUsage } from '../../app/use-org.ts'
import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'
import { Section } from '../../ui/section.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { heldStops } from './held-stops.ts'
import { HeldRow } from './held-row.tsx'

const EVERY_MS = 15_000
const SHOWN = 6
const SHOWN_DEVICES = 3

/** What is stopped: by whom, why, since and until when somebody is reminded. */
export function Stopped() {
  const usage = useUsage()
  const { data } = usage
  return (
    <Section
      title="What is stopped"
      aside={
        <Anchor component={Link} href="/stops" size="sm">
          All stops
        </Anchor>
      }
    >
      <Answer of={usage}>
        {({ org }) => (
          <ul className="plain-list">
            {org.disabled && (
              <HeldRow title="The whole org" by={org.by} reason={org.reason} since={org.since} />
            )}
          </ul>
        )}
      </Answer>
      {data !== undefined && data.locks > 0 && <Locks />}
      {data !== undefined && data.revoked > 0 && <Revoked />}
      {data !== undefined && !data.org.disabled && data.locks === 0 && data.revoked === 0 && (
        <NothingStopped usage={data} />
      )}
    </Section>
  )
}

function NothingStopped({ usage }: { readonly usage: Output<'usage'> }) {
  const isCurrent = useIsCurrent()
  return (
    <Text size="sm">
      {isCurrent
        ? 'Nothing is stopped. Devices that are revoked, and locks, stand here while they hold.'
        : 'Nothing was stopped when the control plane last answered. Whether that is still so is not known.'}
      {!isPlanActive(usage) && ' The plan is not active: every call is denied all the same.'}
      {isPlanActive(usage) && usage.overLimit && ' Devices over the cap are denied all the same.'}
    </Text>
  )
}

function Locks() {
  const locks = useCall('locks', {}, { everyMs: EVERY_MS })
  return (
    <Answer of={locks}>
      {({ locks: all }) => {
        const active = all
          .filter(({ active: holds }) => holds)
          .sort((one, other) => Number(other.overdue) - Number(one.overdue) || other.epoch - one.epoch)
        return (
          <List more={active.length - SHOWN}>
            {active.slice(0, SHOWN).map((lock) => (
              <HeldRow
                key={lock.lockId}
                title={
                  <>
                    Lock of <Untrusted text={lock.pattern} mono />
                  </>
                }
                by={lock.by}
                reason={lock.reason}
                since={lock.changedAt}
                remindAt={lock.remindAt}
                overdue={lock.overdue}
                epoch={lock.epoch}
              />
            ))}
          </List>
        )
      }}
    </Answer>
  )
}

function Revoked() {
  const devices = useCall('devices', {}, { everyMs: EVERY_MS })
  return (
    <Answer of={devices}>
      {({ devices: all }) => {
        const stops = heldStops(all)
        return (
          <List more={stops.length - SHOWN}>
            {stops.slice(0, SHOWN).map((stop) => (
              <HeldRow key={stop.epoch} title={<Devices ids={stop.deviceIds} />} {...stop} />
            ))}
          </List>
        )
      }}
    </Answer>
  )
}

function Devices({ ids }: { readonly ids: readonly string[] }) {
  const more = ids.length - SHOWN_DEVICES
  return (
    <>
      {ids.slice(0, SHOWN_DEVICES).map((id, index) => (
        <span key={id}>
          {index > 0 && ', '}
          <Untrusted text={id} mono />
        </span>
      ))}
      {more > 0 && (
        <>
          {' '}
          and{' '}
          <Anchor component={Link} href="/devices" inherit>
            {count(more, 'more device')}
          </Anchor>
        </>
      )}
    </>
  )
}

function List({ more, children }: { readonly more: number; readonly children: React.ReactNode }) {
  return (
    <Stack gap="xs">
      <ul className="plain-list">{children}</ul>
      {more > 0 && (
        <Text size="sm">
          and {more} more under{' '}
          <Anchor component={Link} href="/stops" inherit>
            Stops
          </Anchor>
        </Text>
      )}
    </Stack>
  )
}
