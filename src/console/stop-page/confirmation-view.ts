import { PATHS } from '../../machineid/paths.ts'
import type { StopBody } from '../../machineid/wire-stops.ts'
import type { Output } from '../api/routes.ts'
import { callsOf, MEANS, verdictOf } from '../ui/change/confirmation-words.ts'
import { plain } from '../ui/plain.ts'
import { h, setText } from './dom.ts'
import { get } from './session.ts'

const EVERY_MS = 1000

/** What each replica is known to have made of the stop, looked at until all have confirmed it. */
export function confirmationView(epoch: number, isWatched: () => boolean): HTMLElement {
  const verdict = h('p', { class: 'hit', role: 'status' }, 'Looking up who was told.')
  const trouble = h('p', { class: 'bad', role: 'alert' })
  const list = h('ul', { 'aria-label': 'Replicas' })

  const look = async () => {
    if (!isWatched()) return
    let isFinal = false
    try {
      const { stops } = (await get(`${PATHS.stopHistory}?epoch=${epoch}`)) as Output<'stopHistory'>
      setText(trouble, '')
      if (stops[0] !== undefined) isFinal = show(stops[0])
    } catch {
      setText(trouble, 'The stop holds. Who has confirmed it could not be looked up; this tries again.')
    }
    if (!isFinal) window.setTimeout(() => void look(), EVERY_MS)
  }
  const show = (stop: StopBody): boolean => {
    setText(verdict, verdictOf(stop).words)
    list.replaceChildren(...stop.replicas.map(replicaItem))
    return stop.state === 'confirmed'
  }
  void look()
  return h(
    'section',
    {},
    h('p', {}, `Acknowledged with epoch ${epoch}. From now on every hold point that it concerns denies.`),
    verdict,
    trouble,
    list,
  )
}

function replicaItem(replica: StopBody['replicas'][number]): HTMLElement {
  const { look, words } = MEANS[replica.state]
  const sign = look === 'good' ? '✓' : '▲'
  return h(
    'li',
    {},
    h('bdi', { class: 'mono' }, plain(replica.replica)),
    h('span', {}, `${sign} ${replica.state}: ${words}. Calls it found: ${callsOf(replica)}.`),
  )
}
