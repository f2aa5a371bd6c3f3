// Models that answer only when their request is aborted, or never.

import { modelResponder, type ScriptedModel } from '@openai/agents/testing'
import { gate } from './helpers.ts'

/** A model call that is on its way until its signal is aborted. */
export function hangingCall() {
  const sent = gate()
  const aborted = { by: undefined as unknown }
  const step = modelResponder(async ({ request: { signal } }) => {
    sent.resolve()
    await new Promise((resolve) => signal?.addEventListener('abort', resolve))
    aborted.by = signal?.reason
    throw signal?.reason
  })
  return { step, sent: sent.promise, aborted }
}

type StreamedRequest = Parameters<ScriptedModel['getStreamedResponse']>[0]

/** The same as a stream, of a model that may heed no signal. */
export function hangingStream(heeds: boolean) {
  const sent = gate()
  const answer = async function* ({ signal }: StreamedRequest): AsyncGenerator<never> {
    sent.resolve()
    await new Promise((resolve) => (heeds ? signal?.addEventListener('abort', resolve) : undefined))
    yield* []
    throw signal?.reason
  }
  return { sent: sent.promise, answer }
}
