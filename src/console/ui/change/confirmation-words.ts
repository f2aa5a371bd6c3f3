import type { StopBody } from '../../../machineid/wire-stops.ts'
import { count } from '../count.ts'

type Replica = StopBody['replicas'][number]

/** What is known of a replica, as wire-stops.ts defines it. */
export const MEANS: Readonly<
  Record<Replica['state'], { readonly look: 'good' | 'warn' | 'quiet'; readonly words: string }>
> = {
  confirmed: { look: 'good', words: 'nothing that the stop found runs there any more' },
  acknowledged: { look: 'warn', words: 'it denies; some of what the stop found still runs' },
  denying: { look: 'warn', words: 'it said nothing, but was denied after the stop' },
  told: { look: 'warn', words: 'the stop was sent to it; no more is known' },
  silent: { look: 'warn', words: 'nothing was heard of it' },
}

/** What all of it comes to. Confirmed is only what replicas have confirmed. */
export function verdictOf({ state, replicas }: Pick<StopBody, 'state' | 'replicas'>): {
  readonly look: 'good' | 'warn'
  readonly words: string
} {
  if (state === 'confirmed') {
    const unknown = replicas.reduce((sum, replica) => sum + replica.unknown, 0)
    const doubt =
      unknown === 0 ? '' : `. Of ${count(unknown, 'effect')} nobody knows whether it happened: see Runs`
    return {
      look: unknown === 0 ? 'good' : 'warn',
      words: `Confirmed by ${replicas.length === 1 ? 'the one replica' : `all ${replicas.length} replicas`}${doubt}`,
    }
  }
  if (state === 'no_replicas')
    return { look: 'good', words: 'It holds. No process listens that could confirm it.' }
  const open = replicas.filter((replica) => replica.state !== 'confirmed').length
  return {
    look: 'warn',
    words: `It holds. Not confirmed yet by ${open} of ${count(replicas.length, 'replica')}`,
  }
}

/** What became of the calls that the stop found in flight. */
export function callsOf({ aborted, finished, unknown, running }: Replica): string {
  const parts = [
    [running, 'still running'],
    [aborted, 'aborted'],
    [finished, 'finished'],
    [unknown, 'with an unknown outcome'],
  ] as const
  const told = parts.filter(([number]) => number > 0).map(([number, words]) => `${number} ${words}`)
  return told.length === 0 ? 'none' : told.join(', ')
}
