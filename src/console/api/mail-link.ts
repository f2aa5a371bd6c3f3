import { PATHS } from '../../machineid/paths.ts'
import { exchange } from './exchange.ts'

/** Asks for a link by mail. The answer is the same whether the address is an owner's or not. Throws `ApiError`. */
export async function mailLink(email: string): Promise<string> {
  const answer = await exchange(PATHS.orgRecover, { method: 'POST', body: { email } })
  return (answer as { readonly message: string }).message
}
