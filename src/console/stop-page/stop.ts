import { PATHS } from '../../machineid/paths.ts'
import { ApiError } from '../api/api-error.ts'
import type { Output } from '../api/routes.ts'
import type { Session } from '../api/session-state.ts'
import { whyEnded } from '../api/why-ended.ts'
import { plain } from '../ui/plain.ts'
import { WAY_ROUND } from '../ui/way-round.ts'
import { createBoard } from './board-view.ts'
import { button, h } from './dom.ts'
import { get, isOtherOrg, keepSession, lookAtSession, signOut } from './session.ts'
import { signInView } from './sign-in-view.ts'

const EVERY_MS = 5000
const TRY_AGAIN_MS = 3000
const DEVICES_EVERY_MS = 30_000
/** It is little: what takes longer does not come. */
const USAGE_TIMEOUT_MS = 5000
/** A page that was in the background was not kept up to date. */
const OLD_AFTER_MS = 15_000

const page = document.querySelector('#page')
/** Of the view that is shown: what a view before it began ends with it. */
let turn = 0

function show(view: HTMLElement): number {
  page?.replaceChildren(view)
  view.querySelector('h1')?.focus({ preventScroll: true })
  turn += 1
  return turn
}

async function start(): Promise<void> {
  try {
    const session = await lookAtSession()
    if (session === undefined) showSignIn()
    else showBoard(session)
  } catch (error) {
    showTrouble(error)
  }
}

/** What is shown, and asked, is of another org than the one that is signed in to now. */
async function startAnew(): Promise<void> {
  await start()
  for (const dialog of document.querySelectorAll('dialog')) dialog.close()
}

function showSignIn(why?: string): void {
  show(signInView(why, () => void start()))
}

function showTrouble(error: unknown): void {
  const message = error instanceof ApiError && error.status !== 0 ? error.message : undefined
  const mine = show(
    h(
      'section',
      { role: 'alert' },
      h('h1', { tabindex: '-1' }, 'The control plane cannot be reached'),
      h(
        'p',
        {},
        plain(message ?? 'Whether anything is stopped is not known. This page tries again by itself.'),
      ),
      h('p', {}, WAY_ROUND),
      button('Try again now', () => void start(), { class: 'primary' }),
    ),
  )
  window.setTimeout(() => {
    if (mine === turn) void start()
  }, TRY_AGAIN_MS)
}

function showBoard(session: Session): void {
  const board = createBoard(session, {
    onSignOut: () => void leave(),
    onChange: () => void refresh(),
  })
  let answeredAtMs: number | undefined
  let devicesAt: { readonly atMs: number; readonly orgEpoch: number } | undefined
  let asked = 0
  let shown = 0
  const mine = show(board.element)

  /** What every device's state is, when that may have changed. */
  const refreshDevices = async (orgEpoch: number) => {
    if (devicesAt?.orgEpoch === orgEpoch && Date.now() - devicesAt.atMs < DEVICES_EVERY_MS) return
    const { devices } = (await get(PATHS.list)) as Output<'devices'>
    devicesAt = { atMs: Date.now(), orgEpoch }
    board.showDevices(devices)
  }
  const refresh = async () => {
    const turnOfMine = ++asked
    try {
      const usage = (await get(PATHS.usage, USAGE_TIMEOUT_MS)) as Output<'usage'>
      // An answer that was overtaken, such as by that after a stop, is of before.
      if (mine !== turn || turnOfMine < shown) return
      shown = turnOfMine
      answeredAtMs = Date.now()
      board.showUsage(usage)
      await refreshDevices(usage.orgEpoch)
    } catch (error) {
      if (mine !== turn || turnOfMine < shown) return
      if (isOtherOrg(error)) return await startAnew()
      if (error instanceof ApiError && error.status === 401) return showSignIn(whyEnded(error))
      board.showSilence(answeredAtMs)
    }
  }
  const poll = async () => {
    await refresh()
    if (mine === turn) window.setTimeout(() => void poll(), EVERY_MS)
  }
  void poll()
  // A phone that was put away shows what was true then, until it has asked again.
  const onSeen = () => {
    if (mine !== turn) return document.removeEventListener('visibilitychange', onSeen)
    if (document.visibilityState !== 'visible') return
    if (answeredAtMs !== undefined && Date.now() - answeredAtMs > OLD_AFTER_MS) board.showOld(answeredAtMs)
    void refresh()
  }
  document.addEventListener('visibilitychange', onSeen)
}

async function leave(): Promise<void> {
  try {
    await signOut()
    showSignIn('You are signed out.')
  } catch (error) {
    if (isOtherOrg(error)) return startAnew()
    if (error instanceof ApiError && error.status === 401) return showSignIn(whyEnded(error))
    showTrouble(error)
  }
}

document.addEventListener('pointerdown', keepSession, { passive: true })
document.addEventListener('keydown', keepSession)
void start()
