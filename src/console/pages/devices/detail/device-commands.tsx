import { Code, Stack, Text } from '@mantine/core'

import { mayRestore, mayStop } from '../../../api/roles.ts'
import { useSession } from '../../../api/session-state.ts'
import { plain } from '../../../ui/plain.ts'
import { lockCommand, removeCommand, restoreCommand, revokeCommand } from '../commands.ts'
import { surfacePatternOf } from '../device-id.ts'
import type { Device } from '../device-state.ts'
import { Section } from './section.tsx'

export function DeviceCommands({ device: { deviceId, revoked } }: { readonly device: Device }) {
  const session = useSession()
  if (!mayStop(session)) return null
  const commands = [
    { does: 'Revoke it', command: revokeCommand(deviceId) },
    { does: 'Stop its surface', command: lockCommand(surfacePatternOf(deviceId)) },
    ...(mayRestore(session) && revoked ? [{ does: 'Restore it', command: restoreCommand(deviceId) }] : []),
    ...(mayRestore(session) ? [{ does: 'Remove it', command: removeCommand(deviceId) }] : []),
  ]
  return (
    <Section title="From a terminal">
      <Stack gap={6}>
        {commands.map(({ does, command }) => (
          <div key={does}>
            <Text size="xs">{does}</Text>
            <Code block tabIndex={0} aria-label={does}>
              {plain(command)}
            </Code>
          </div>
        ))}
      </Stack>
    </Section>
  )
}
