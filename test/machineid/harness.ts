import { onTestFinished } from 'vitest'

import type { Answer, Question } from '../../src/guard/authority.ts'
import { MachineID } from '../../src/machineid/client.ts'
import type { MachineIDOptions, Profile } from '../../src/machineid/options.ts'
import {
  httpAnswer,
  startRawServer,
  type RawHandler,
  type RawRequest,
  type RawServer,
  type RawServerOptions,
} from '../fixtures/raw-server.ts'
import { goodAnswer } from './bad-answers/row.ts'

export const DEVICE = 'openai-agent:prod:payments:01'
export const ORG_KEY = 'org_harness_key_0123456789'

/** A raw server and a client of it; both are closed when the test ends. */
export async function serverAndClient(
  handler: RawHandler,
  options: Partial<MachineIDOptions> = {},
  serverOptions: RawServerOptions = {},
): Promise<{ server: RawServer; client: MachineID }> {
  const server = await startRawServer(handler, serverOptions)
  const client = new MachineID({
    ...(options.orgKeyFile === undefined ? { orgKey: ORG_KEY } : {}),
    baseUrl: server.url,
    ...options,
  })
  onTestFinished(async () => {
    await client.close()
    await server.close()
  })
  return { server, client }
}

/** The good answer to this question, as it goes over the wire, with some fields replaced. */
export function allow(request: RawRequest, fields: object = {}, profile: Profile = 'holdpoint'): Buffer {
  return httpAnswer(JSON.stringify({ ...goodAnswer(profile, request).envelope, ...fields }))
}

export function ask(client: MachineID, options: Partial<Question> = {}): Promise<Answer> {
  return client.ask({ deviceIds: [DEVICE], boundary: 'tool', timeoutMs: 500, ...options })
}

/** `ALLOW`, or the code of the denial. */
export function codeOf(answer: Answer): string {
  if (!answer.answered) return answer.code
  const denied = answer.decisions.find(({ allowed }) => !allowed)
  return denied === undefined || denied.allowed ? 'ALLOW' : denied.code
}

/** Every nonce that was sent, in order. */
export function noncesOf(server: RawServer): string[] {
  return server.requests.map(({ json }) => (json as { nonce: string }).nonce)
}
