import { Alert, ScrollArea, Stack, Text } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'
import { Answer } from '../answer.tsx'
import { count } from '../count.ts'
import { Untrusted } from '../untrusted.tsx'
import type { usePreview } from './use-preview.ts'

/** The devices that a stop would hit, and the calls that are in flight there. */
export function BlastRadius({ of }: { readonly of: ReturnType<typeof usePreview> }) {
  const replicas = useCall('replicas', {}, { everyMs: 5000 })
  return (
    <Answer of={of}>
      {({ deviceCount, hits, devices, truncated }) => {
        const hit = new Set(devices.filter(({ now }) => now === 'ALLOW').map(({ deviceId }) => deviceId))
        const inFlight = replicas.data?.replicas
          .flatMap((replica) => replica.devices)
          .filter(({ deviceId }) => hit.has(deviceId))
          .reduce((sum, device) => sum + device.inFlight, 0)
        const denied = devices.length - hits
        return (
          <Alert
            color="red"
            variant="light"
            title={`This stops ${count(hits, 'device')}${truncated ? ' or more' : ''}`}
          >
            <Stack gap={4}>
              <Text size="sm">
                {inFlight === undefined || replicas.error !== null
                  ? 'What is in flight there now is not known.'
                  : `${count(inFlight, 'call')}${truncated ? ' or more' : ''} in flight there now.`}{' '}
                {count(denied, 'more device')} it is about {denied === 1 ? 'is' : 'are'} denied already.
                {truncated &&
                  ` ${count(deviceCount - devices.length, 'more device')} it is about were not looked at one by one.`}
              </Text>
              <ScrollArea.Autosize
                mah={160}
                type="auto"
                viewportProps={{ tabIndex: 0, role: 'group', 'aria-label': 'Devices that are hit' }}
              >
                {devices.slice(0, 200).map(({ deviceId, now, then }) => (
                  <Text key={deviceId} size="xs">
                    <Untrusted text={deviceId} mono /> {now === then ? `stays ${now}` : `${now} → ${then}`}
                  </Text>
                ))}
                {devices.length > 200 && <Text size="xs">and {devices.length - 200} more</Text>}
              </ScrollArea.Autosize>
            </Stack>
          </Alert>
        )
      }}
    </Answer>
  )
}
