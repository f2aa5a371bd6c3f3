import type { Output } from '../api/routes.ts'
import type { Session } from '../api/session-state.ts'
import { isPlanActive } from '../app/org-state.ts'
import { plain } from '../ui/plain.ts'
import { WAY_ROUND } from '../ui/way-round.ts'
import { openConfirm } from './confirm-dialog.ts'
import { button, h, setText } from './dom.ts'
import { surfacesOf, surfaceWords, type Surface } from './surfaces.ts'
import { EVERYTHING, surfaceTarget } from './target.ts'

export interface Board {
  readonly element: HTMLElement
  readonly showUsage: (usage: Output<'usage'>) => void
  readonly showDevices: (devices: Output<'devices'>['devices']) => void
  /** What stands there is from then, and is being asked for. */
  readonly showOld: (fromMs: number) => void
  /** Nobody answers, since then. */
  readonly showSilence: (fromMs: number | undefined) => void
}

const clock = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

/** How things stand, and a button for everything that can be stopped. */
export function createBoard(
  session: Session,
  { onSignOut, onChange }: { readonly onSignOut: () => void; readonly onChange: () => void },
): Board {
  const may = session.kind !== 'viewer'
  const state = h('h1', { tabindex: '-1' }, 'Not known yet')
  const detail = h('p')
  const status = h('section', { class: 'state', role: 'status', 'data-state': 'unknown' }, state, detail)
  const list = h('ul', { class: 'surfaces' })
  const none = h('p', { class: 'note' }, 'Surfaces of devices stand here, each with a button.')
  const everything = button(EVERYTHING.title, () => openConfirm(EVERYTHING, onChange), { class: 'stop' })
  let isDisabled = false
  let isFrozen = false
  let shown: Surface[] = []

  const showSurfaces = (surfaces: Surface[]) => {
    const isSame = surfaces.map(({ name }) => name).join() === shown.map(({ name }) => name).join()
    shown = surfaces
    none.hidden = surfaces.length > 0
    // Only what is said of them changes mostly: a button that somebody is about to press stays where it is.
    if (!isSame) list.replaceChildren(...surfaces.map((surface) => surfaceItem(surface, may, onChange)))
    for (const [index, surface] of surfaces.entries()) {
      const words = list.children[index]?.querySelector<HTMLElement>('.words')
      if (words)
        setText(
          words,
          surfaceWords(
            surface,
            isDisabled ? 'the org is disabled' : isFrozen ? 'the plan is not active' : '',
          ),
        )
    }
  }

  return {
    element: h(
      'div',
      {},
      status,
      h('h2', {}, 'Surfaces'),
      none,
      list,
      h(
        'p',
        { class: 'note' },
        `Signed in with ${session.kind} rights, org `,
        h('bdi', { class: 'mono' }, plain(session.orgId)),
        '. Restores are not here: ',
        h('a', { href: '/console/' }, 'open the console'),
        '.',
      ),
      button('Sign out', onSignOut),
      h(
        'div',
        { class: 'thumb' },
        may ? everything : h('p', {}, 'A viewer may look and not stop. Sign in with a stop key.'),
      ),
    ),
    showUsage: (usage) => {
      isDisabled = usage.org.disabled
      isFrozen = !isPlanActive(usage)
      const isPart = usage.revoked + usage.locks > 0
      status.dataset['state'] = stateOf(isDisabled || isFrozen, isPart)
      setText(state, isFrozen && !isDisabled ? '■ The plan is not active' : stateWords(isDisabled, isPart))
      setText(detail, isDisabled ? disabledWords(usage.org) : allowedWords(usage))
      showSurfaces(shown)
    },
    showDevices: (devices) => showSurfaces(surfacesOf(devices)),
    showOld: (fromMs) => {
      status.dataset['state'] = 'unknown'
      setText(state, '▲ Looking again')
      setText(detail, `What stands below is from ${clock.format(fromMs)}. You can stop all the same.`)
    },
    showSilence: (fromMs) => {
      status.dataset['state'] = 'unknown'
      setText(state, '▲ No answer')
      const from = fromMs === undefined ? '' : ` What stands below is from ${clock.format(fromMs)}.`
      setText(
        detail,
        `The control plane cannot be reached: whether anything is stopped is not known.${from} This page tries again by itself. ${WAY_ROUND}`,
      )
    },
  }
}

function surfaceItem({ name }: Surface, may: boolean, onChange: () => void): HTMLElement {
  const label = h('span', {}, h('bdi', { class: 'name' }, plain(name)), h('span', { class: 'words' }))
  if (!may) return h('li', {}, label)
  const stop = button(`Stop ${plain(name)}`, () => openConfirm(surfaceTarget(name), onChange), {
    class: 'stop',
  })
  return h('li', {}, label, stop)
}

function stateOf(isDisabled: boolean, isPart: boolean): 'disabled' | 'part' | 'allowed' {
  if (isDisabled) return 'disabled'
  return isPart ? 'part' : 'allowed'
}

function stateWords(isDisabled: boolean, isPart: boolean): string {
  if (isDisabled) return '■ The org is disabled'
  return isPart ? '▲ Some of it is stopped' : '✓ The org is allowed'
}

function disabledWords({ by, since, reason }: Output<'usage'>['org']): string {
  const when = since === null ? '' : ` since ${clock.format(Date.parse(since))}`
  return `Nothing is allowed${when}. By ${plain(by ?? 'nobody known')}: ${plain(reason ?? 'no reason given')}`
}

function allowedWords({ revoked, locks, planState }: Output<'usage'>): string {
  const plan = !isPlanActive({ planState }) ? ` But its plan is ${planState}: every call is denied.` : ''
  return `The org's switch is on.${plan} Revoked devices: ${revoked}. Locks: ${locks}.`
}
