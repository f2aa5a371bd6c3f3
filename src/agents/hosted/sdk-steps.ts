import type { RunItem, RunStreamEvent } from '@openai/agents'
import type { Execution } from './execution.ts'

/** Tells of what the SDK tells of, as far as no tool of ours has done so itself. */
export function tellOfEvent(execution: Execution, event: RunStreamEvent): void {
  if (event.type === 'run_item_stream_event') return tellOfItem(execution, event.item)
  if (event.type !== 'raw_model_stream_event') return
  if (event.data.type === 'response_started') execution.atModel(true)
  if (event.data.type === 'response_done') execution.atModel(false)
}

function tellOfItem(execution: Execution, item: RunItem): void {
  if (item.type === 'message_output_item') {
    execution.steps.emit({ type: 'message', text: item.content })
  } else if (item.type === 'tool_call_item' && item.rawItem.type === 'function_call') {
    const { callId, name, arguments: text } = item.rawItem
    execution.steps.emit({ type: 'tool_called', call_id: callId, tool: name, arguments: parsed(text) })
  } else if (item.type === 'tool_call_output_item' && item.rawItem.type === 'function_call_result') {
    const { callId, name } = item.rawItem
    const requestId = execution.requestIdOf(callId)
    execution.steps.emit({
      type: 'tool_output',
      call_id: callId,
      tool: name,
      ...(requestId === undefined ? {} : { request_id: requestId }),
      output: textOf(item.output),
    })
  }
}

function textOf(output: unknown): string {
  return typeof output === 'string' ? output : (JSON.stringify(output) ?? '')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
