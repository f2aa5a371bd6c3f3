/** One for the whole page: a channel does not hear itself, but would hear a second one of its own page. */
let opened: BroadcastChannel | undefined

function channel(): BroadcastChannel {
  opened ??= new BroadcastChannel('holdpoint-session')
  return opened
}

/** Lets the other tabs of this browser know that who is signed in has changed, or until when. */
export function tellOtherTabs(): void {
  channel().postMessage('look')
}

/** Calls `look` when another tab told so, and when somebody comes back to this one. Answers how to end that. */
export function onSessionNews(look: () => void): () => void {
  const news = channel()
  const seen = () => {
    if (document.visibilityState === 'visible') look()
  }
  news.addEventListener('message', look)
  document.addEventListener('visibilitychange', seen)
  return () => {
    news.removeEventListener('message', look)
    document.removeEventListener('visibilitychange', seen)
  }
}
