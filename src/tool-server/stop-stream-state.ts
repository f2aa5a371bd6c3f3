import type { Guard } from '../guard/guard.ts'
import type { InspectBody } from '../tool-server-wire.ts'
import type { ToolServerAbout } from './about.ts'

/** How the stream of stops stands, as operators are told. `off`: the authority has none, and that is no fault. */
export function stopStreamState(
  { stopStream, started }: Guard,
  { profile }: ToolServerAbout,
): InspectBody['stopStream'] {
  if (stopStream !== undefined) {
    const { up, since, code, keyKind } = stopStream
    return { state: up ? 'up' : 'down', since, reason: code ?? null, keyKind: keyKind ?? null }
  }
  const none = profile === 'machineid' ? 'hosted MachineID pushes no stops' : 'the authority pushes no stops'
  return { state: 'off', since: null, reason: started ? none : 'the guard has not started', keyKind: null }
}
