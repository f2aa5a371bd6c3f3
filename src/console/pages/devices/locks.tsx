import { Anchor, Button, Checkbox, Stack, Table, Text } from '@mantine/core'
import { useMemo, useState } from 'react'
import { Link } from 'wouter'

import { mayRestore } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { Who } from '../../ui/who.tsx'
import type { Lock } from './device-state.ts'
import { heldDevices } from './locks-of.ts'
import type { Actions } from './use-actions.ts'
import type { DevicesData } from './use-devices.ts'

/** The surfaces that are stopped; those that were on demand. */
export function Locks({ data, begin }: { readonly data: DevicesData; readonly begin: Actions['begin'] }) {
  const [all, setAll] = useState(false)
  const answer = useCall('locks', all ? { all: 'true' } : {}, { everyMs: 10_000 })
  return (
    <Stack gap="sm">
      <Checkbox
        label="Released ones too"
        checked={all}
        onChange={(event) => setAll(event.currentTarget.checked)}
      />
      <Answer of={answer}>
        {({ locks }) =>
          locks.length === 0 ? (
            <Empty title="No surface is stopped.">
              Stop one, and its lock stands here until somebody releases it.
            </Empty>
          ) : (
            <LockTable locks={locks} data={data} begin={begin} />
          )
        }
      </Answer>
    </Stack>
  )
}

function LockTable({
  locks,
  data,
  begin,
}: {
  readonly locks: readonly Lock[]
  readonly data: DevicesData
  readonly begin: Actions['begin']
}) {
  const session = useSession()
  const mayRelease = mayRestore(session)
  return (
    <Table.ScrollContainer
      minWidth={860}
      type="native"
      tabIndex={0}
      role="region"
      className="scrolls-sideways"
      aria-label="Locks"
    >
      <Table aria-label="Locks" verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Pattern</Table.Th>
            <Table.Th scope="col">State</Table.Th>
            <Table.Th scope="col">Devices</Table.Th>
            <Table.Th scope="col">Since</Table.Th>
            <Table.Th scope="col">By</Table.Th>
            <Table.Th scope="col">Reason</Table.Th>
            {mayRelease && <Table.Th scope="col">Action</Table.Th>}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {locks.map((lock) => (
            <Table.Tr key={lock.lockId}>
              <Table.Th scope="row" fw={400}>
                <Untrusted text={lock.pattern} mono />
              </Table.Th>
              <Table.Td>
                <LockState lock={lock} />
              </Table.Td>
              <Table.Td className="numbers">
                <Matches lock={lock} data={data} />
              </Table.Td>
              <Table.Td>
                <When at={lock.changedAt} />
              </Table.Td>
              <Table.Td>
                <Who by={lock.by} />
              </Table.Td>
              <Table.Td maw={300}>
                <Untrusted text={lock.reason} />
              </Table.Td>
              {mayRelease && (
                <Table.Td>
                  {lock.active && (
                    <Button
                      size="compact-sm"
                      variant="default"
                      aria-label={`Release ${plain(lock.pattern)}`}
                      onClick={() => begin({ is: 'release', lock })}
                    >
                      Release
                    </Button>
                  )}
                </Table.Td>
              )}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  )
}

function LockState({ lock: { active, overdue, remindAt } }: { readonly lock: Lock }) {
  if (!active) return <StateBadge look="quiet">released</StateBadge>
  return (
    <>
      <StateBadge look="bad">{overdue ? 'held, overdue' : 'held'}</StateBadge>
      {remindAt !== null && (
        <Text size="xs" component="div">
          reminder <When at={remindAt} ahead />
        </Text>
      )}
    </>
  )
}

function Matches({ lock, data }: { readonly lock: Lock; readonly data: DevicesData }) {
  const { devices } = data
  const held = useMemo(() => heldDevices(lock, devices), [lock, devices])
  if (!lock.active) return '–'
  return (
    <Anchor
      component={Link}
      href="/devices?state=locked"
      size="sm"
      aria-label={`${held.length} locked devices`}
    >
      {held.length.toLocaleString('en')}
    </Anchor>
  )
}
