import { mailLink } from '../api/mail-link.ts'
import { plain } from '../ui/plain.ts'
import { h, setText } from './dom.ts'
import { signIn } from './session.ts'

/** With a key, of which one of kind stop is enough, or with a link by mail. */
export function signInView(why: string | undefined, onSignedIn: () => void): HTMLElement {
  return h(
    'section',
    {},
    h('h1', { tabindex: '-1' }, 'Sign in to stop'),
    ...(why === undefined ? [] : [h('p', { class: 'note', role: 'status' }, plain(why))]),
    form(
      { label: 'Key', type: 'password', autocomplete: 'off', submit: 'Sign in', kind: 'primary' },
      async (key) => {
        await signIn(key, window.location)
        onSignedIn()
        return ''
      },
    ),
    form(
      { label: 'Email address', type: 'email', autocomplete: 'email', submit: 'Mail me a link', kind: '' },
      mailLink,
    ),
    h('p', { class: 'note' }, 'Without this page: npx holdpoint panic'),
  )
}

interface Field {
  readonly label: string
  readonly type: string
  readonly autocomplete: string
  readonly submit: string
  readonly kind: string
}

function form(field: Field, send: (value: string) => Promise<string>): HTMLFormElement {
  const input = h('input', {
    type: field.type,
    autocomplete: field.autocomplete,
    maxlength: '256',
    required: '',
  })
  const submit = h('button', { type: 'submit', class: field.kind }, field.submit)
  const answer = h('p', { class: 'note', role: 'status' })
  const problem = h('p', { class: 'bad', role: 'alert' })
  const element = h('form', {}, h('label', {}, field.label, input), problem, submit, answer)
  const run = async () => {
    submit.disabled = true
    setText(problem, '')
    setText(answer, '')
    try {
      setText(answer, plain(await send(input.value.trim())))
    } catch (error) {
      setText(problem, plain(error instanceof Error ? error.message : String(error)))
    } finally {
      submit.disabled = false
    }
  }
  element.addEventListener('submit', (event) => {
    event.preventDefault()
    void run()
  })
  return element
}
