import { ApiError } from '../api/api-error.ts'
import { plain } from '../ui/plain.ts'
import { confirmationView } from './confirmation-view.ts'
import { button, h, setText } from './dom.ts'
import { blastRadius, stop, type Target } from './target.ts'

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

  const stopped = (epoch: number) => {
    setText(title, `${target.title}: it holds.`)
    const isWatched = () => isOpen
    content.replaceChildren(confirmationView(epoch, isWatched), button('Close', close))
    title.focus()
    onChange()
  }

  content.replaceChildren(question(target, stopped, close))
  document.body.append(dialog)
  dialog.showModal()
}

/** What it hits is looked up meanwhile, and never waited for. */
function question(target: Target, onStopped: (epoch: number) => void, onCancel: () => void): HTMLElement {
  const hit = h('p', { class: 'hit', role: 'status' }, 'Looking up what this hits. You need not wait.')
  blastRadius(target).then(
    (words) => setText(hit, words),
    () => setText(hit, 'What this hits could not be looked up. You can stop all the same.'),
  )
  const reason = h('input', { type: 'text', maxlength: '500', autocomplete: 'off' })
  const problem = h('div', { role: 'alert' })
  const submit = h('button', { type: 'submit', class: 'stop', autofocus: '' }, target.title)
  const form = h(
    'form',
    {},
    h('p', {}, target.about),
    hit,
    h('label', {}, 'Reason (optional)', reason),
    problem,
    submit,
    button('Cancel', onCancel),
  )
  const run = async () => {
    submit.disabled = true
    setText(submit, 'Stopping…')
    problem.replaceChildren()
    try {
      onStopped(await stop(target, reason.value.trim()))
    } catch (error) {
      problem.replaceChildren(...failure(error))
      setText(submit, 'Try again')
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
  if (error instanceof ApiError && error.status !== 0) {
    return [
      h('p', { class: 'bad' }, `Nothing was stopped. ${plain(error.message)}`),
      h('p', { class: 'note' }, plain(`${error.code} ${error.requestId ?? ''}`)),
    ]
  }
  return [
    h('p', { class: 'bad' }, 'No answer came: it is not known whether it stopped.'),
    h('p', {}, 'Try again: stopping twice does no harm. Or from a computer: npx holdpoint panic'),
  ]
}
