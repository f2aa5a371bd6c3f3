import { Alert, Button, Group, NativeSelect, NumberInput, Paper, Stack, Text, Title } from '@mantine/core'
import { useState } from 'react'

import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'
import { csvLine } from '../../../csv.ts'
import { saveFile } from '../../ui/save-file.ts'
import { effectOfCap, TIERS, toldThen, type CapEffect } from './downgrade.ts'
import { HitTable } from './hit-table.tsx'
import { WhichStay } from './which-stay.tsx'

const OTHER = 'other'
const MAX_CAP = 10_000_000

/** Which devices a cap would deny, before it does. Changes nothing. */
export function WhatIf({ usage }: { readonly usage: Output<'usage'> }) {
  const { limit } = usage
  const devices = useCall('devices', {}, { everyMs: 30_000 })
  const replicas = useCall('replicas', {}, { everyMs: 5000 })
  const [tier, setTier] = useState(() => tierBelow(usage))
  const [other, setOther] = useState(limit)
  const cap = tier === OTHER ? other : (TIERS[tier as keyof typeof TIERS] ?? limit)
  return (
    <Stack component="section" aria-labelledby="what-if">
      <Title order={2} size="h4" id="what-if">
        What another cap would do
      </Title>
      <Group align="flex-end" gap="sm">
        <NativeSelect
          label="Plan"
          data={[
            ...Object.entries(TIERS).map(([name, slots]) => ({
              value: name,
              label: `${name}, ${slots.toLocaleString('en')} devices`,
            })),
            { value: OTHER, label: 'another number' },
          ]}
          value={tier}
          onChange={(event) => setTier(event.currentTarget.value)}
        />
        {tier === OTHER && (
          <NumberInput
            label="Devices"
            min={0}
            max={MAX_CAP}
            allowDecimal={false}
            allowNegative={false}
            clampBehavior="strict"
            hideControls
            w={140}
            value={other}
            onChange={(value) => setOther(Number(value))}
          />
        )}
      </Group>
      <Answer of={devices}>
        {({ devices: all }) => {
          const effect = effectOfCap(all, replicas.data?.replicas ?? [], { now: limit, then: cap })
          return (
            <Paper withBorder p="md">
              <Stack>
                <Verdict effect={effect} cap={cap} inFlightIsKnown={replicas.data !== undefined} />
                {usage.org.disabled && (
                  <Text size="sm">
                    The org is disabled: until it is enabled, everything is denied ORG_DISABLED.
                  </Text>
                )}
                {effect.over.length > 0 && (
                  <>
                    <Group justify="space-between" gap="xs">
                      <Title order={3} size="h5">
                        Above slot {cap.toLocaleString('en')}
                      </Title>
                      <Button variant="default" size="compact-sm" onClick={() => exportHits(effect, cap)}>
                        Export the list as CSV
                      </Button>
                    </Group>
                    <HitTable hits={effect.over} cap={cap} />
                  </>
                )}
                {effect.over.length > 0 && <WhichStay effect={effect} cap={cap} />}
              </Stack>
            </Paper>
          )
        }}
      </Answer>
    </Stack>
  )
}

function Verdict({
  effect: { over, newlyDenied, inFlight, comeBack, within },
  cap,
  inFlightIsKnown,
}: {
  readonly effect: CapEffect
  readonly cap: number
  readonly inFlightIsKnown: boolean
}) {
  if (over.length === 0) {
    return (
      <div role="status">
        <Empty title={`With a cap of ${cap.toLocaleString('en')}, no device would be denied for it.`}>
          {comeBack.length > 0
            ? `${count(comeBack.length, 'device')} that ${comeBack.length === 1 ? 'is' : 'are'} over the cap now would be allowed again.`
            : 'Every device that is registered has a slot within it.'}
        </Empty>
      </div>
    )
  }
  const stopped = over.length - newlyDenied
  return (
    <Alert
      color="red"
      variant="outline"
      role="status"
      title={`${count(newlyDenied, 'device')} that ${newlyDenied === 1 ? 'is' : 'are'} allowed now would be denied DEVICE_OVER_LIMIT`}
    >
      <Text size="sm">
        At once, like a stop:{' '}
        {inFlightIsKnown
          ? `${count(inFlight, 'call')} in flight there now.`
          : 'what is in flight there is not known.'}{' '}
        {within.toLocaleString('en')} with the lowest slots stay.
        {stopped > 0 &&
          ` ${count(stopped, 'more device')} above the cap ${stopped === 1 ? 'is' : 'are'} denied already.`}
        {comeBack.length > 0 && ` ${count(comeBack.length, 'device')} would be allowed again.`}
      </Text>
    </Alert>
  )
}

/** The largest plan that is smaller than the one there is. */
function tierBelow({ limit }: Output<'usage'>): string {
  const below = Object.entries(TIERS).filter(([, slots]) => slots < limit)
  return below.at(-1)?.[0] ?? 'free'
}

function exportHits({ over }: CapEffect, cap: number): void {
  const rows = over.map((hit) => [hit.deviceId, hit.slot, hit.inFlight, hit.now, toldThen(hit)])
  saveFile(
    `over-limit-with-${cap}.csv`,
    'text/csv',
    [['deviceId', 'slot', 'inFlight', 'now', 'then'], ...rows].map(csvLine).join(''),
  )
}
