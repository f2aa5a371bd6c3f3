import { Box, Text } from '@mantine/core'

import { count } from '../../ui/count.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import classes from './stops.module.css'

const SHOWN = 200

/** Devices, one a line, in a box of their own. */
export function DeviceLines({
  label,
  devices,
}: {
  readonly label: string
  readonly devices: readonly { readonly deviceId: string; readonly why?: string }[]
}) {
  return (
    <Box className={classes.lines} tabIndex={0} role="region" aria-label={label}>
      {devices.slice(0, SHOWN).map(({ deviceId, why }) => (
        <Text key={deviceId} size="sm">
          <Untrusted text={deviceId} mono />
          {why !== undefined && ` ${why}`}
        </Text>
      ))}
      {devices.length > SHOWN && (
        <Text size="sm">and {count(devices.length - SHOWN, 'more device')}, not listed here</Text>
      )}
    </Box>
  )
}
