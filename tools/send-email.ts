import { guardedTool, type Guard } from 'holdpoint'
import { z } from 'zod'

import type { Outbox } from './outbox.ts'

/**
 * Sends one email. The same text to the same person may be meant twice, so nothing in it is a key: each call
 * sends, and only a repeat of that call does not. The idempotency key is the mail's Message-ID.
 */
export function sendEmail(guard: Guard, outbox: Outbox) {
  return guardedTool(guard.surface('email'), {
    name: 'send_email',
    description: 'Send one plain-text email.',
    parameters: z.object({
      to: z.email({ pattern: z.regexes.html5Email }),
      subject: z.string(),
      text: z.string(),
    }),
    effect: 'email',
    key: 'each-call',
    commit: async (email, { idempotencyKey }) => ({
      messageId: await outbox.send(email, { idempotencyKey }),
    }),
    reconcile: async (_email, { idempotencyKey }) => {
      const messageId = outbox.sent(idempotencyKey)
      return messageId === undefined ? { state: 'absent' } : { state: 'done', result: { messageId } }
    },
  })
}
