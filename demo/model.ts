import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { readModelConfig } from '../src/config.ts'

const { OPENAI_API_KEY, OPENAI_MODEL } = readModelConfig()

/** A real model decides when there is a key for one. */
export const isScripted = OPENAI_API_KEY === undefined

let calls = 0

export interface Turn {
  readonly tool: string
  readonly args: Record<string, unknown>
}

/**
 * What the agent runs on: the model of the environment, or a script that makes these tool calls one after the other
 * and then says that it is done.
 */
export function modelFor(turns: readonly Turn[]): ScriptedModel | string | undefined {
  if (!isScripted) return OPENAI_MODEL
  const scripted = turns.map(({ tool, args }) => [
    functionCall(tool, args, { callId: `call_demo_${++calls}` }),
  ])
  return new ScriptedModel([...scripted, [assistantMessage('Done, as far as I was allowed.')]])
}
