import type { Answered, Question } from '../guard/authority.ts'
import type { Clock } from '../clock.ts'
import type { Deadline } from './deadline.ts'
import type { OrgKey } from './org-key.ts'
import type { OrgMemory } from './org-memory.ts'
import type { Transport } from './transport.ts'
import { KEY_HEADER } from './wire.ts'

/** How one kind of authority is asked. */
export interface AskingProfile {
  /** Rejects with the code of the denial, for `failClosed` to turn into one. */
  ask(question: Question, deadline: Deadline): Promise<Answered>
}

/** What every call to the authority needs. */
export interface Connection {
  readonly transport: Transport
  readonly key: OrgKey
  /** Stands before every path of the API. */
  readonly pathPrefix: string
  readonly org: OrgMemory
  readonly clock: Clock
}

export function requestHeaders(
  key: OrgKey,
  { hasBody, accept = 'application/json' }: { readonly hasBody: boolean; readonly accept?: string },
): string[] {
  const headers = [KEY_HEADER, key.current(), 'accept', accept, 'accept-encoding', 'identity']
  if (hasBody) headers.push('content-type', 'application/json')
  return headers
}
