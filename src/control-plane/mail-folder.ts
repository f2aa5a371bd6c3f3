import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { createTransport } from 'nodemailer'

import type { Clock } from '../clock.ts'
import { systemClock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { letterOf, MailError, type Mailer } from './mail.ts'

const PLAIN = 'Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit'

/**
 * Stands in for a mail server: each mail becomes one `.eml` file that only this user can read, because the links in
 * it open an org.
 */
export function createFolderMailer(options: {
  readonly directory: string
  readonly from: string
  readonly log: Logger
  readonly clock?: Clock
}): Mailer {
  const { directory, from, log, clock = systemClock } = options
  const transport = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  return {
    send: async (mail) => {
      const date = new Date(clock.now().wallMs)
      const text = mail.text.replaceAll('\n', '\r\n')
      // Without the text, which is put in as it is: it is read in editors too, and no encoding may break its links.
      const { message: head } = await transport.sendMail({ ...letterOf(mail, from), text: '', date })
      const message = `${(head as Buffer).toString().replace(/^Content-Type: .*/m, PLAIN)}${text}`
      const name = `${date.toISOString().replaceAll(':', '-')}-${crypto.randomUUID().slice(0, 8)}.eml`
      const file = join(directory, name)
      try {
        await mkdir(directory, { recursive: true, mode: 0o700 })
        await writeFile(`${file}.tmp`, message, { mode: 0o600, flush: true })
        // Whole or not at all, also when the process dies here.
        await rename(`${file}.tmp`, file)
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException
        throw new MailError(`${directory} cannot be written (${code}). Check DATA_DIR, its owner and mode.`, {
          permanent: false,
        })
      }
      log.info({ file }, 'no SMTP_URL is set: a mail was written to a file')
    },
    close: () => transport.close(),
  }
}
