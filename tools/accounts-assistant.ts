import { Agent, type Model } from '@openai/agents'
import type { Guard } from 'holdpoint'

import { createAccountsTools, type AccountsToolsOptions } from './accounts-tools.ts'

export interface AccountsAssistantOptions extends Omit<AccountsToolsOptions, 'paymentsNeedApproval'> {
  /** A model, or the name of one. Default: the SDK's. */
  readonly model?: Model | string | undefined
}

/** The agent `accounts-assistant`: the four tools, and a person approves each payment. */
export function createAccountsAssistant(guard: Guard, options: AccountsAssistantOptions) {
  const { model, ...sinks } = options
  return new Agent({
    name: 'accounts-assistant',
    instructions:
      'You look after the accounts: you look invoices up, pay them in full, send mails and keep records. Always look an ' +
      'invoice up before you pay it, and pay the amount it says. A call that was denied or declined was decided so: say ' +
      'what was not done and why, and do not try it again. When nobody knows whether something happened, say that.',
    tools: createAccountsTools(guard, { ...sinks, paymentsNeedApproval: true }),
    ...(model === undefined ? {} : { model }),
  })
}
