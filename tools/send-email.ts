import { guardedTool, type EffectContext, type Guard, type Reconciled } from 'holdpoint'
import { z } from 'zod'

import type { Mailer } from './mailer.ts'

/**
 * Sends one email. The same text to the same person may be meant twice, so nothing in it is a key: each call
 * sends, and only a repeat of that call does not. The idempotency key is the mail's Message-ID.
 */
export function sendEmail(guard: Guard, mailer: Mailer) {
  const reconcile = async (
    _email: unknown,
    { idempotencyKey }: EffectContext,
  ): Promise<Reconciled<unknown>> => {
    const messageId = mailer.sent?.(idempotencyKey)
    return messageId === undefined ? { state: 'absent' } : { state: 'done', result: { messageId } }
  }
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
    commit: async (email, { idempotencyKey, signal }) => ({
      messageId: await mailer.send(email, { idempotencyKey, signal }),
    }),
    // A mail server keeps no record that could be asked: there an unknown outcome waits for an operator.
    ...(mailer.sent !== undefined && { reconcile }),
  })
}
