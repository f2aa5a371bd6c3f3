import { existsSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { domainOf, type Email, type Mailer } from './mailer.ts'

/** Stands in for a mail server: each mail becomes one file that mail programs can open. The same key writes one. */
export interface Outbox extends Mailer {
  readonly directory: string
  sent(idempotencyKey: string): string | undefined
}

/** An outbox in a directory: `<message-id>.eml` for each mail (RFC 5322). */
export function createOutbox(options: {
  readonly directory: string
  /** Default `accounts@example.com`. */
  readonly from?: string
  readonly now?: () => Date
}): Outbox {
  const { directory, from = 'accounts@example.com', now = () => new Date() } = options
  const domain = domainOf(from)
  const messageIdOf = (idempotencyKey: string) => `${idempotencyKey}@${domain}`
  const fileOf = (messageId: string) => join(directory, `${messageId}.eml`)
  return {
    directory,
    send: async (email, { idempotencyKey }) => {
      const messageId = messageIdOf(idempotencyKey)
      if (existsSync(fileOf(messageId))) return messageId
      await mkdir(directory, { recursive: true })
      const draft = `${fileOf(messageId)}.${crypto.randomUUID()}`
      await writeFile(draft, message(email, { from, messageId, date: now() }), { flush: true })
      // Whole or not at all, also when the process dies here.
      await rename(draft, fileOf(messageId))
      return messageId
    },
    sent: (idempotencyKey) => {
      const messageId = messageIdOf(idempotencyKey)
      return existsSync(fileOf(messageId)) ? messageId : undefined
    },
  }
}

function message(
  { to, subject, text }: Email,
  head: { readonly from: string; readonly messageId: string; readonly date: Date },
): string {
  return [
    `From: ${headerText(head.from)}`,
    `To: ${headerText(to)}`,
    `Subject: ${headerText(subject)}`,
    `Date: ${head.date.toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${head.messageId}>`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: base64',
    '',
    ...inLines(Buffer.from(text.replaceAll(/\r?\n/g, '\r\n')).toString('base64'), 76),
    '',
  ].join('\r\n')
}

/** Anything but short printable ASCII becomes encoded words (RFC 2047): a line break cannot start another header. */
function headerText(text: string): string {
  if (/^[\x20-\x7e]{0,200}$/.test(text) && !text.includes('=?')) return text
  // At most 10 characters, so at most 40 bytes, so that no word is longer than 75.
  const words = inLines(Array.from(text), 10).map(
    (part) => `=?UTF-8?B?${Buffer.from(part).toString('base64')}?=`,
  )
  return words.join('\r\n ')
}

function inLines(characters: string | readonly string[], length: number): string[] {
  const lines: string[] = []
  for (let at = 0; at < characters.length; at += length) {
    const part = characters.slice(at, at + length)
    lines.push(typeof part === 'string' ? part : part.join(''))
  }
  return lines
}
