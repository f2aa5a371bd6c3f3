import type { InspectBody } from '../../tool-server-wire.ts'
import { CliError } from '../cli-error.ts'
import { EXIT } from '../cli.ts'
import type { ToolServerClient } from '../tool-server-client.ts'
import { canaryDeviceId } from './canary-device.ts'
import type { Cell } from './canary-call.ts'
import type { Expected } from './measure.ts'

/** As many as a report holds. */
const MAX_CELLS = 256
const BOUNDARIES = ['tool', 'side_effect'] as const

export interface Actor {
  readonly client: ToolServerClient
  readonly inspected: InspectBody
  /** Undefined when a real surface is drilled. */
  readonly canaryDeviceId: string | undefined
}

/** Who is called where, and what is stopped. */
export interface Stage {
  readonly actors: ReadonlyMap<string, Actor>
  readonly cells: readonly Cell[]
  readonly expected: readonly Expected[]
  readonly target: { readonly kind: 'canary' | 'surface'; readonly deviceIds: readonly string[] }
}

/** Asks each tool server how it is set up. Throws `CliError` when the drill would show nothing there. */
export async function setStage(
  clients: readonly ToolServerClient[],
  surface: string | undefined,
): Promise<Stage> {
  const inspected = await Promise.all(
    clients.map(async (client) => ({ client, inspected: await client.inspect() })),
  )
  const chosen =
    surface === undefined
      ? inspected
      : inspected.filter((one) => one.inspected.surfaces.some(({ name }) => name === surface))
  if (surface !== undefined && chosen.length === 0) throw unknownSurface(surface, inspected)
  const actors = chosen.map((one) => ({
    ...one,
    canaryDeviceId: surface === undefined ? canaryDeviceId(one.inspected.serverDeviceId) : undefined,
  }))
  const cells = actors.flatMap(({ client, inspected: { surfaces } }) =>
    surfaces
      .filter(({ name }) => surface === undefined || name === surface)
      .flatMap(({ name }) =>
        BOUNDARIES.map((boundary) => ({ toolServer: client.url, surface: name, boundary })),
      ),
  )
  checkCells(cells)
  const byUrl = new Map(actors.map((actor) => [actor.client.url, actor]))
  const deviceIds = actors.flatMap((actor) =>
    surface === undefined ? [actor.canaryDeviceId as string] : ownDevices(actor.inspected, surface),
  )
  return {
    actors: byUrl,
    cells,
    expected: cells.map((cell) => {
      const { replica = cell.toolServer, timeoutMs = 0 } = byUrl.get(cell.toolServer)?.inspected ?? {}
      return { cell, replica, maxAgeMs: timeoutMs }
    }),
    target: { kind: surface === undefined ? 'canary' : 'surface', deviceIds: [...new Set(deviceIds)] },
  }
}

/** Those whose stop stops the surface and nothing else. */
function ownDevices({ serverDeviceId, surfaces }: InspectBody, surface: string): readonly string[] {
  const devices = surfaces.find(({ name }) => name === surface)?.deviceIds ?? []
  const own = devices.filter((deviceId) => deviceId !== serverDeviceId)
  if (own.length > 0) return own
  throw new CliError(
    'SURFACE_NOT_ALONE',
    `The surface ${surface} of ${serverDeviceId} has no device of its own: stopping it would stop the whole tool ` +
      'server. Drill with the canary instead (without --surface), or give the surface a device in MACHINEID_SURFACES.',
    EXIT.usage,
  )
}

function checkCells(cells: readonly Cell[]): void {
  if (cells.length === 0)
    throw new CliError('NO_SURFACES', 'No tool server has a surface. Declare one in MACHINEID_SURFACES.')
  if (cells.length <= MAX_CELLS) return
  throw new CliError(
    'TOO_MANY_SURFACES',
    `There are ${cells.length} pairs of surface and boundary; a report holds ${MAX_CELLS}. Drill fewer tool servers at once.`,
    EXIT.usage,
  )
}

function unknownSurface(surface: string, inspected: readonly { inspected: InspectBody }[]): CliError {
  const names = [...new Set(inspected.flatMap((one) => one.inspected.surfaces.map(({ name }) => name)))]
  return new CliError(
    'UNKNOWN_SURFACE',
    `No tool server has a surface ${JSON.stringify(surface)}. There are: ${names.join(', ')}.`,
    EXIT.usage,
  )
}
