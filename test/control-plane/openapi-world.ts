// A control plane to which any call of openapi.json can be made, and what such calls are made of.

import { Agent, request, type Dispatcher } from 'undici'

import { systemClock } from '../../src/clock.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import {
  startTestControlPlane,
  startTestLanes,
  type TestControlPlane,
  type TestControlPlaneOptions,
} from '../fixtures/control-plane.ts'
import { createContract, type Contract, type Operation } from './openapi-contract.ts'

export const DEVICE = 'openai-agent:test:payments:01'
export const NONCE = 'n'.repeat(22)
const PLATFORM_TOKEN = 'platform-token'

/** One call. What is left out is as the operation needs it. */
export interface Asked {
  readonly id?: string
  /** Fields, or the text after the `?`. */
  readonly query?: Readonly<Record<string, string>> | string
  /** A string or bytes are sent as they are, anything else as JSON. */
  readonly body?: unknown
  /** `null` sends none. */
  readonly key?: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly lane?: 'agent' | 'operator'
  /** What a stream is to tell: done once it is open. */
  readonly meanwhile?: () => Promise<unknown>
}

export interface Answer {
  readonly status: number
  /** Without parameters. */
  readonly contentType: string
  /** Of JSON, else the text; of a stream, what came first. */
  readonly body: unknown
  /** Of a stream of events or lines. */
  readonly items: readonly unknown[]
  readonly headers: Dispatcher.ResponseData['headers']
}

export interface World extends AsyncDisposable {
  readonly authority: TestControlPlane
  readonly contract: Contract
  readonly operation: (id: string) => Operation
  readonly ask: (operation: Operation, asked?: Asked) => Promise<Answer>
  /** Opens a stream and holds it. */
  readonly open: (operation: Operation, asked?: Asked) => Promise<Disposable>
  /** By name, for what has to be there first: throws unless it is answered 200. */
  // oxlint-disable-next-line typescript/no-explicit-any -- bodies of every shape
  readonly must: (id: string, asked?: Asked) => Promise<any>
  /** A key of that kind, or one that may make the call. */
  readonly keyFor: (operation: Operation, kinds?: readonly KeyKind[]) => string | undefined
  /** Registers a device of its own. */
  readonly newDevice: () => Promise<string>
  /** Moves the wall clock on. */
  readonly advance: (ms: number) => void
}

export interface WorldOptions extends TestControlPlaneOptions {
  /** Validates are answered in a thread of their own, as in production. Its clock is the system's. */
  readonly threads?: boolean
  /** Its monotonic clock stands still: what is used up of a quota stays so, however slow the machine is. */
  readonly still?: boolean
}

export async function startWorld({
  threads = false,
  still = false,
  ...options
}: WorldOptions = {}): Promise<World> {
  let aheadMs = 0
  const startedAt = systemClock.now()
  const clock = {
    now: () => {
      const { monotonicMs, wallMs } = systemClock.now()
      return { monotonicMs: still ? startedAt.monotonicMs : monotonicMs, wallMs: wallMs + aheadMs }
    },
  }
  const start = threads ? startTestLanes : startTestControlPlane
  const authority = await start({ platformToken: PLATFORM_TOKEN, ...(!threads && { clock }), ...options })
  await authority.register(DEVICE)
  const agent = new Agent({ connections: 64 })
  const contract = createContract((await authority.get(PATHS.openapi)).body)

  const keyFor: World['keyFor'] = ({ kinds }, preferred = ['full']) => {
    const kind = preferred.find((wanted) => kinds.includes(wanted)) ?? kinds[0]
    return kind === undefined ? undefined : authority.keys[kind as KeyKind]
  }
  const send = (operation: Operation, asked: Asked) => {
    const {
      lane = operation.id === 'postSession' ? 'operator' : 'agent',
      key = keyFor(operation) ?? null,
      body,
    } = asked
    return request(`${lane === 'agent' ? authority.url : authority.operatorUrl}${pathOf(operation, asked)}`, {
      method: operation.method,
      dispatcher: agent,
      headers: {
        ...(key !== null && { 'x-org-key': key }),
        ...(operation.takesPlatformToken && { authorization: `Bearer ${PLATFORM_TOKEN}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...asked.headers,
      },
      ...(body !== undefined && {
        body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      }),
    })
  }
  const ask: World['ask'] = async (operation, asked = {}) =>
    read(await send(operation, asked), asked.meanwhile)
  const operation = (id: string) => {
    const found = contract.operations.find((one) => one.id === id)
    if (found === undefined) throw new Error(`openapi.json has no operation ${id}.`)
    return found
  }
  const must: World['must'] = async (id, asked) => {
    const { status, body } = await ask(operation(id), asked)
    if (status !== 200) throw new Error(`${id}: ${status} ${JSON.stringify(body)}`)
    return body
  }
  let devices = 0
  return {
    authority,
    contract,
    operation,
    ask,
    open: async (asked, options = {}) => {
      const { statusCode, body } = await send(asked, options)
      if (statusCode !== 200) throw new Error(`${asked.id}: ${statusCode} ${await body.text()}`)
      body.on('error', () => {})
      return { [Symbol.dispose]: () => void body.destroy() }
    },
    must,
    keyFor,
    newDevice: async () => {
      const deviceId = `openai-agent:test:walk:${++devices}`
      await authority.register(deviceId)
      return deviceId
    },
    advance: (ms) => void (aheadMs += ms),
    [Symbol.asyncDispose]: async () => {
      await agent.destroy()
      await authority.close()
    },
  }
}

function pathOf({ path }: Operation, { id = 'none', query }: Asked): string {
  const search = typeof query === 'string' ? query : new URLSearchParams(query).toString()
  return path.replace('{id}', id) + (search === '' ? '' : `?${search}`)
}

async function read(response: Dispatcher.ResponseData, meanwhile: Asked['meanwhile']): Promise<Answer> {
  const { statusCode: status, headers, body } = response
  const contentType = String(headers['content-type'] ?? '').split(';', 1)[0] ?? ''
  const answer = { status, contentType, headers, items: [] }
  if (contentType === 'text/event-stream') return { ...answer, ...(await firstEvent(body, meanwhile)) }
  const text = await body.text()
  if (contentType === 'application/json') return { ...answer, body: JSON.parse(text) }
  if (contentType === 'text/csv') return { ...answer, body: text, items: text.split('\r\n') }
  if (contentType !== 'application/x-ndjson') return { ...answer, body: text }
  const lines = text.split('\n').filter((line) => line !== '')
  return { ...answer, body: text, items: lines.map((line) => JSON.parse(line)) }
}

/** What a stream says until its first event is there. */
async function firstEvent(body: Dispatcher.ResponseData['body'], meanwhile: Asked['meanwhile']) {
  const done = meanwhile?.()
  let text = ''
  for await (const chunk of body.setEncoding('utf8')) {
    text += String(chunk)
    const data = /^data: ?(.*)$/m.exec(text)?.[1]
    if (data === undefined && meanwhile !== undefined) continue
    await done
    // Leaving the loop hangs up.
    return { body: text, items: data === undefined ? [] : [JSON.parse(data)] }
  }
  throw new Error(`The stream ended without an event: ${text}`)
}
