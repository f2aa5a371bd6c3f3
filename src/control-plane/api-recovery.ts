import {
  RecoverConfirmRequest,
  RecoverConfirmResponse,
  RecoverRequest,
  RecoverResponse,
} from '../machineid/wire-orgs.ts'
import { PATHS } from '../machineid/paths.ts'
import { publicRoute, type ApiContext, type Route } from './api-route.ts'

export function recoveryRoutes(context: ApiContext): Route[] {
  const { recovery } = context
  return [
    publicRoute(context, {
      method: 'post',
      path: PATHS.orgRecover,
      handler: 'org/recover',
      summary: 'Mails a link to an owner, to sign in or to make a key; answers the same for every address',
      input: RecoverRequest,
      output: RecoverResponse,
      refusals: ['RATE_LIMITED'],
      run: async ({ input: { email }, caller }) => {
        await recovery.request(caller, email)
        return { body: { message: ON_ITS_WAY } }
      },
    }),
    publicRoute(context, {
      method: 'post',
      path: PATHS.orgRecoverConfirm,
      handler: 'org/recover/confirm',
      summary:
        'Issues an admin key for a recovery link, once, and ends every session; restores, enables and burns nothing',
      input: RecoverConfirmRequest,
      output: RecoverConfirmResponse,
      refusals: ['RECOVERY_LINK_INVALID', 'RATE_LIMITED'],
      run: async ({ input: { token }, caller }) => {
        const { orgId, keyId, key } = await recovery.confirm(caller, token)
        return { body: { orgId, keyId, key, kind: 'admin' } }
      },
    }),
  ]
}

const ON_ITS_WAY = 'If this address owns an org, a link is on its way to it. It works once, for 15 minutes.'
