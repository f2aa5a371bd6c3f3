import type { SendMailOptions } from 'nodemailer'

import { HoldpointError } from '../errors.ts'

export interface Mail {
  /** One address, without a name. */
  readonly to: string
  readonly subject: string
  /** Plain text. */
  readonly text: string
}

/** How the control plane reaches people. */
export interface Mailer {
  /** Resolves once a mail server has taken the mail, or the file is on the disk. Rejects with `MailError`. */
  send(mail: Mail): Promise<void>
  /** Cuts what is being sent. Fine to call twice. */
  close(): void
}

/** `MAIL_NOT_SENT`. Says neither to whom nor what: addresses and links do not belong in a log. */
export class MailError extends HoldpointError {
  override readonly name = 'MailError'
  /** True when the same mail would be refused again. */
  readonly permanent: boolean

  constructor(message: string, { permanent }: { readonly permanent: boolean }) {
    super('MAIL_NOT_SENT', message)
    this.permanent = permanent
  }
}

/** Where there is neither a mail server nor a folder. */
export const noMailer: Mailer = {
  send: async () => {
    throw new MailError('Mail is not configured. Set SMTP_URL and MAIL_FROM.', { permanent: true })
  },
  close: () => {},
}

/** What a log may say about the address of a mail. */
export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1)
}

/** The mail as nodemailer takes it: to exactly one address, and nothing fetched or read from a file. */
export function letterOf({ to, subject, text }: Mail, from: string): SendMailOptions {
  if (!ONE_ADDRESS.test(to)) {
    throw new MailError('This is not one plain email address.', { permanent: true })
  }
  return {
    from,
    // As an object it is taken as it stands; a string would be parsed, and could be several addresses.
    to: { name: '', address: to },
    subject,
    text,
    headers: { 'Auto-Submitted': 'auto-generated' },
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

const ONE_ADDRESS = /^[^\s\p{Cc}<>()[\],;:\\"@]{1,64}@[A-Za-z0-9.-]{1,253}$/u
