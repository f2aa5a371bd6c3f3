import { ApiError, isOutcomeUnknown } from '../api/api-error.ts'
import { plain } from '../ui/plain.ts'
import { WAY_ROUND } from '../ui/way-round.ts'
import { confirmationView } from './confirmation-view.ts'
import { button, h, setText } from './dom.ts'
import { blastRadius, stop, type Stopped, type Target } from './target.ts'

/** Asks once, stops, and shows who has confirmed it. `onChange` is called when it has stopped, and when it is closed. */
export function openConfirm(target: Target, onChange: () => void): void {
  const title = h('h2', { id: 'confirm-title', tabindex: '-1' }, `${target.title}?`)
  const content = h('div')
  const dialog = h('dialog', { 'aria-labelledby': 'confirm-title' }, title, content)
  let isOpen = true
  const close = () => dialog.close()
  dialog.addEventListener('close', () => {
    isOpen = false
    dialog.remove()
    onChange()
  })

  const stopped = ({ epoch, orgEpoch }: Stopped, previewed: number | undefined) => {
    setText(title, `${target.title}: it holds.`)
    const isWatched = () => isOpen
    const hasMoved = previewed !== undefined && orgEpoch !== previewed + 1
    content.replaceChildren(
      ...(hasMoved ? [h('p', {}, 'Something else was stopped or restored since this was opened.')] : []),
      confirmationView(epoch, isWatched),
      button('Close', close),
    )
    title.focus()
    onChange()
  }

  content.replaceChildren(question(target, stopped, close))
  document.body.append(dialog)
  dialog.showModal()
}

/** What it hits is looked up meanwhile, and never waited for. */
function question(
  target: Target,
  onStopped: (stopped: Stopped, previewed: number | undefined) => void,
  onCancel: () => void,
): HTMLElement {
  const hit = h('p', { class: 'hit', role: 'status' }, 'Looking up what this hits. You need not wait.')
  let previewed: number | undefined
  blastRadius(target).then(
    ({ words, orgEpoch }) => {
      previewed = orgEpoch
      setText(hit, words)
    },
    () => setText(hit, 'What this hits could not be looked up. You can stop all the same.'),
  )
  const reason = h('input', { type: 'text', maxlength: '500', autocomplete: 'off' })
  const problem = h('div', { role: 'alert' })
  const submit = h('button', { type: 'submit', class: 'stop', autofocus: '' }, target.title)
  const cancel = button('Cancel', onCancel)
  const form = h(
    'form',
    {},
    h('p', {}, target.about),
    hit,
    h('label', {}, 'Reason (optional)', reason),
    problem,
    submit,
    cancel,
  )
  const run = async () => {
    submit.disabled = true
    setText(submit, 'Stopping…')
    // What was sent is not taken back.
    setText(cancel, 'Close')
    problem.replaceChildren()
    try {
      // What comes after the stop is no preview of it.
      const before = previewed
      onStopped(await stop(target, reason.value.trim()), before)
    } catch (error) {
      problem.replaceChildren(...failure(error))
      setText(submit, 'Try again')
      setText(cancel, 'Cancel')
      submit.disabled = false
      submit.focus()
    }
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void run()
  })
  return form
}

/** No answer is not "not stopped": the stop may hold, and may be repeated at will. */
function failure(error: unknown): HTMLElement[] {
  if (error instanceof ApiError && !isOutcomeUnknown(error)) {
    return [
      h('p', { class: 'bad' }, `Nothing was stopped. ${plain(error.message)}`),
      h('p', { class: 'note' }, plain(`${error.code} ${error.requestId ?? ''}`)),
    ]
  }
  return [
    h('p', { class: 'bad' }, 'No answer came: it is not known whether it stopped.'),
    h('p', {}, `Try again: stopping twice does no harm. ${WAY_ROUND}`),
  ]
}
