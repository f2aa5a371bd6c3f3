import type { Express } from 'express'
import { readFileSync } from 'node:fs'

/** Where the link of a recovery mail leads. */
const PAGE = '/recover'
const FILES = [
  { path: PAGE, file: 'index.html', type: 'text/html' },
  { path: `${PAGE}/page.js`, file: 'page.js', type: 'text/javascript' },
  { path: `${PAGE}/page.css`, file: 'page.css', type: 'text/css' },
]

/** Nothing from elsewhere, nothing inline, in nobody's frame: this page gets to see a token and a key. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
}

/**
 * The page on which an owner turns a recovery link into a key. Opening it does nothing yet, because mail scanners open
 * links too: the token is behind the #, and is sent when the button is pressed.
 */
export function mountRecoverPage(app: Express): void {
  for (const { path, file, type } of FILES) {
    const content = readFileSync(new URL(`./recover-page/${file}`, import.meta.url))
    app.get(path, (_request, response) => {
      response.set({ ...HEADERS, 'content-type': `${type}; charset=utf-8` }).end(content)
    })
  }
}
