import { Runner, type AgentInputItem, type CallModelInputFilter, type RunState } from '@openai/agents'
import { gateModel, gateProvider, inModelRun, type ModelRun } from './model-requests.ts'
import { currentSession, type AnyAgent } from './session.ts'

type AnyRun = (
  this: Runner,
  agent: AnyAgent,
  input: string | AgentInputItem[] | RunState<unknown, AnyAgent>,
  options?: { signal?: AbortSignal; callModelInputFilter?: CallModelInputFilter },
) => Promise<unknown>

let gated = false

/**
 * Makes every run that begins inside a session ask at `task` before each model call, and end with the session. An
 * agent that is a tool of another runs on a `Runner` that the SDK makes for it, with no filter or way to give it one,
 * so the gate is where all runs begin. Once per process, at the first session; runs outside sessions are as they were.
 */
export function gateModelCalls(): void {
  if (gated) return
  gated = true
  const ownRun = Reflect.get(Runner.prototype, 'run') as AnyRun
  const gatedRun: AnyRun = async function (agent, input, options = {}) {
    const session = currentSession()
    if (session === undefined) return ownRun.call(this, agent, input, options)
    session.hosted?.admit(agent)
    gateProvider(this.config.modelProvider)
    gateModel(this.config.model)
    const own = options.callModelInputFilter ?? this.config.callModelInputFilter
    const signal =
      options.signal === undefined ? session.signal : AbortSignal.any([options.signal, session.signal])
    const run: ModelRun = { session, permit: undefined }
    const callModelInputFilter = modelFilter(run, own)
    return inModelRun(run, () =>
      ownRun.call(this, agent, input, { ...options, signal, callModelInputFilter }),
    )
  }
  Reflect.set(Runner.prototype, 'run', gatedRun)
}

/**
 * The app's own filter first, then the question. What the SDK does between it and the request may take its time, and not
 * every request passes here: the model itself starts the permit, or asks anew.
 */
function modelFilter(run: ModelRun, own: CallModelInputFilter | undefined): CallModelInputFilter {
  const { session } = run
  const filter: CallModelInputFilter = async (call) => {
    session.agents.add(call.agent)
    session.hosted?.admit(call.agent)
    gateModel(call.agent.model)
    const modelData = own === undefined ? call.modelData : await own(call)
    run.permit = await session.beforeModelCall()
    return modelData
  }
  filter.preserveInputIdentity = own === undefined ? true : (own.preserveInputIdentity ?? false)
  return filter
}
