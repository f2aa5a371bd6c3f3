import {
  Usage,
  type AssistantMessageItem,
  type FunctionCallItem,
  type Model,
  type ModelRequest,
  type StreamEvent,
} from '@openai/agents'

import { planOf, type Action } from './scripted-plan.ts'

const NOTE = '(A scripted model answered. Set OPENAI_API_KEY for a real one.)'

const HELP =
  'I only know a few sentences: "Pay INV-1001 and INV-1002", "Look up INV-1003", ' +
  '"Mail ops@example.com: the text", "Write KEY = VALUE".'

type Output = AssistantMessageItem | FunctionCallItem
type Item = Exclude<ModelRequest['input'], string>[number]

/** What one call of the plan has come to. */
interface Made {
  readonly action: Action
  /** What the tool gave; undefined until it has. */
  readonly output: string | undefined
}

/**
 * Stands in for a model where there is no key for one: it understands a few sentences about invoices, mails and records,
 * makes the calls they ask for, and says in plain words what became of them. The same conversation gives the same turn,
 * but for the ids of calls and responses, which are new each time.
 */
export function createScriptedModel(): Model {
  return {
    getResponse: async (request) => {
      request.signal?.throwIfAborted()
      return { usage: new Usage({ requests: 1 }), output: [...nextTurn(request)], responseId: newId('resp') }
    },
    getStreamedResponse: async function* (request): AsyncGenerator<StreamEvent, void, void> {
      request.signal?.throwIfAborted()
      const output = [...nextTurn(request)]
      yield { type: 'response_started' }
      for (const item of output) {
        if (item.type === 'function_call') continue
        for (const part of item.content)
          if (part.type === 'output_text') yield { type: 'output_text_delta', delta: part.text }
      }
      const usage = { requests: 1, inputTokens: 0, outputTokens: 0, totalTokens: 0 }
      yield { type: 'response_done', response: { id: newId('resp'), usage, output } }
    },
  }
}

/** All calls that can be made now, or what became of them. */
function nextTurn({ input }: ModelRequest): readonly Output[] {
  const { asked, since } = conversation(input)
  const made = callsIn(since)
  const outputOf = (action: Action) => made.find((one) => isSame(one.action, action))?.output
  const { actions, report } = planOf(asked, outputOf)
  const due = actions.filter((action) => !made.some((one) => isSame(one.action, action)))
  if (due.length > 0) return due.map(functionCall)
  return [message([NOTE, ...(report.length === 0 ? [HELP] : report)].join('\n'))]
}

/** What was asked last, and everything after it. */
function conversation(input: ModelRequest['input']): { asked: string; since: readonly Item[] } {
  if (typeof input === 'string') return { asked: input, since: [] }
  const at = input.findLastIndex((item) => 'role' in item && item.role === 'user')
  const question = input[at]
  const asked = question !== undefined && 'content' in question ? textOf(question.content) : ''
  return { asked, since: input.slice(at + 1) }
}

function callsIn(items: readonly Item[]): readonly Made[] {
  const outputs = new Map(
    items.flatMap((item) =>
      item.type === 'function_call_result' ? [[item.callId, textOf(item.output)] as const] : [],
    ),
  )
  return items.flatMap((item) =>
    item.type === 'function_call'
      ? [{ action: { tool: item.name, args: parsed(item.arguments) }, output: outputs.get(item.callId) }]
      : [],
  )
}

function parsed(json: string): Record<string, unknown> {
  try {
    return JSON.parse(json) as Record<string, unknown>
  } catch {
    return {}
  }
}

function isSame(one: Action, other: Action): boolean {
  return one.tool === other.tool && JSON.stringify(one.args) === JSON.stringify(other.args)
}

/** The text of content in any of the shapes that the SDK keeps it in. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (Array.isArray(content)) return content.map(textOf).join('')
  const { text } = (content ?? {}) as { text?: unknown }
  return typeof text === 'string' ? text : ''
}

function functionCall({ tool, args }: Action): FunctionCallItem {
  return {
    type: 'function_call',
    callId: newId('call'),
    name: tool,
    arguments: JSON.stringify(args),
    status: 'completed',
  }
}

function message(text: string): AssistantMessageItem {
  return {
    type: 'message',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text }],
  }
}

function newId(prefix: string): string {
  return `${prefix}_scripted_${crypto.randomUUID()}`
}
