import { Alert, ScrollArea, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'

import type { ApiError } from '../../api/api-error.ts'
import { preview, type PreviewAnswer } from '../../api/call.ts'
import type { CallName } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../answer.tsx'
import { count } from '../count.ts'
import { Untrusted } from '../untrusted.tsx'

/** What a stop would hit, as the control plane says: asked anew for each `input`. */
export function usePreview(name: CallName, input: object, enabled: boolean) {
  return useQuery<PreviewAnswer, ApiError>({
    queryKey: [name, input, 'preview'],
    queryFn: ({ signal }) => preview(name, input, { signal }),
    enabled,
  })
}

/** The devices that a stop would hit, and the calls that are in flight there. */
export function BlastRadius({ of }: { readonly of: ReturnType<typeof usePreview> }) {
  const replicas = useCall('replicas', {}, { everyMs: 5000 })
  return (
    <Answer of={of}>
      {({ deviceCount, hits, devices, truncated }) => {
        const hit = new Set(devices.filter(({ now }) => now === 'ALLOW').map(({ deviceId }) => deviceId))
        const inFlight = (replicas.data?.replicas ?? [])
          .flatMap((replica) => replica.devices)
          .filter(({ deviceId }) => hit.has(deviceId))
          .reduce((sum, device) => sum + device.inFlight, 0)
        return (
          <Alert
            color="red"
            variant="light"
            title={`This stops ${count(hits, 'device')}${truncated ? ' or more' : ''}`}
          >
            <Stack gap={4}>
              <Text size="sm">
                {count(inFlight, 'call')} in flight there now. {count(deviceCount - hits, 'more device')} it
                is about
                {deviceCount - hits === 1 ? ' is' : ' are'} denied already.
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

export { count }
