// The token is behind the # of the link: it leaves this page only when the button is pressed.

const TOKEN = /^hpr_[0-9A-Za-z]{43}$/
const TIMEOUT_MS = 20_000
const UNREACHABLE =
  'The control plane does not answer. Check your connection and try again. If the link then does not work any ' +
  'more, the first try got through: ask for a new link, and burn the key that the mail to the owners names.'

const element = (id) => document.getElementById(id)
const given = new URLSearchParams(location.hash.slice(1)).get('token')
const api = (path) => new URL(`api/v1/${path}`, location.href)

function show(id) {
  for (const section of document.querySelectorAll('section')) section.hidden = section.id !== id
  element('ask').hidden = id === 'ready' || id === 'done'
  element('problem').textContent = ''
  const heading = element(id).querySelector('h1')
  document.title = `${heading.textContent} · holdpoint`
  heading.focus()
}

/** Undefined when nothing came back that the control plane would say. */
async function post(path, body, credentials = 'omit') {
  try {
    const response = await fetch(api(path), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      credentials,
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const answer = await response.json()
    return typeof answer?.request_id === 'string' && response.status < 500 ? answer : undefined
  } catch {
    return undefined
  }
}

/** With the button out of reach meanwhile: a link works only once. */
async function during(button, work) {
  const label = button.textContent
  const buttons = document.querySelectorAll('#ready button, #ask button')
  for (const other of buttons) other.disabled = true
  button.textContent = 'Please wait…'
  element('problem').textContent = ''
  element('asked').textContent = ''
  try {
    await work()
  } finally {
    for (const other of buttons) other.disabled = false
    button.textContent = label
  }
}

async function confirm() {
  spent(await post('org/recover/confirm', { token: given }), showKey)
}

async function signIn() {
  // The answer sets the cookie.
  spent(await post('session', { link: given }, 'same-origin'), () => {
    forgetToken()
    location.replace(new URL('console', location.href))
  })
}

function spent(answer, done) {
  if (answer === undefined) return void (element('problem').textContent = UNREACHABLE)
  if (answer.status === 'ok') return done(answer)
  if (answer.code !== 'RECOVERY_LINK_INVALID') return void (element('problem').textContent = answer.message)
  forgetToken()
  show('gone')
}

async function ask() {
  const answer = await post('org/recover', { email: element('email').value.trim() })
  if (answer?.status === 'ok') element('asked').textContent = answer.message
  else element('problem').textContent = answer?.message ?? 'The control plane does not answer. Try again.'
}

function showKey({ key, orgId, keyId }) {
  forgetToken()
  element('key').textContent = key
  element('org').textContent = orgId
  element('key-id').textContent = keyId
  const header = '-H "x-org-key: $HOLDPOINT_KEY"'
  element('commands').textContent = [
    `curl ${header} ${api('org/keys')}`,
    `curl -X POST ${header} ${api('org/keys')}/KEY_ID/burn`,
  ].join('\n\n')
  // Whoever leaves without the key has to begin anew.
  addEventListener('beforeunload', stay)
  show('done')
}

function stay(event) {
  event.preventDefault()
}

/** It is spent: nothing that is of use stays in the history. */
function forgetToken() {
  history.replaceState(null, '', location.pathname)
}

async function copy() {
  getSelection().selectAllChildren(element('key'))
  const copied = await copyText(element('key').textContent)
  element('copied').textContent = copied ? 'Copied.' : 'It is selected: copy it with Ctrl+C or ⌘C.'
  if (copied) removeEventListener('beforeunload', stay)
}

/** The clipboard is there over https and on localhost only; elsewhere the older way may work. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return document.execCommand('copy')
  }
}

element('confirm').addEventListener('click', ({ currentTarget }) => void during(currentTarget, confirm))
element('sign-in').addEventListener('click', ({ currentTarget }) => void during(currentTarget, signIn))
element('copy').addEventListener('click', () => void copy())
element('ask').addEventListener('submit', (event) => {
  event.preventDefault()
  void during(event.submitter ?? element('ask').querySelector('button'), ask)
})
// Another link in the same tab changes only what is behind the #.
addEventListener('hashchange', () => location.reload())

if (given === null) show('start')
else show(TOKEN.test(given) ? 'ready' : 'malformed')
