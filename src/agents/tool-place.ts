import type { FunctionCallItem } from '@openai/agents'
import type { Spot } from '../guard/spot.ts'
import type { Surface } from '../guard/surface.ts'

/** Where the calls of a tool stand: chosen from the arguments that its body will get, parsed. */
export type ToolPlace = Spot<unknown>

const chosen = new WeakMap<FunctionCallItem, Surface>()

/** For what the SDK tells of a call outside of its body, where the arguments are not known. */
export function rememberSurface(toolCall: FunctionCallItem | undefined, surface: Surface): void {
  if (toolCall !== undefined) chosen.set(toolCall, surface)
}

/** The surface of a call that has passed `rememberSurface`, or what is named otherwise. */
export function surfaceNamed({ unchosen }: ToolPlace, toolCall: FunctionCallItem | undefined): Surface {
  return (toolCall === undefined ? undefined : chosen.get(toolCall)) ?? unchosen
}
