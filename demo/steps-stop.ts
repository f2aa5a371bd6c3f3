import { Agent, run } from '@openai/agents'
import { remoteTools } from 'holdpoint'
import { INVOICES } from '../tools/invoices.ts'
import { modelFor, type Turn } from './model.ts'
import type { Report } from './report.ts'
import { DEVICES, type World } from './world.ts'

/** What one tool call was answered, and when it was made. */
export interface SeenCall {
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly code: string
  readonly requestId: string | undefined
}

/** An agent whose tools live on the tool server. `onCall` sees each call end. */
async function accountsAgent(
  world: World,
  turns: readonly Turn[],
  onCall: (call: SeenCall) => void = () => {},
) {
  const tools = await remoteTools(world.toolServerUrl, world.callerToken)
  const model = modelFor(turns)
  const agent = new Agent({
    name: 'accounts-assistant',
    instructions:
      'You pay invoices and send mail with your tools. Make each call that you are asked for once, in order.',
    tools,
    ...(model === undefined ? {} : { model }),
  })
  let startedAtMs = 0
  agent.on('agent_tool_start', () => void (startedAtMs = performance.now()))
  agent.on('agent_tool_end', (_context, _tool, output) => {
    const answer = parsed(output)
    const requestId = answer['request_id']
    onCall({ startedAtMs, endedAtMs: performance.now(), code: answer['code'] ?? 'OK', requestId })
  })
  return agent
}

function payment(invoiceId: string): Turn {
  const amountCents = INVOICES.find((invoice) => invoice.invoiceId === invoiceId)?.amountCents
  return { tool: 'send_payment', args: { invoiceId, amountCents } }
}

const asked = (turns: readonly Turn[]) =>
  turns.map(({ tool, args }) => `${tool} ${JSON.stringify(args)}`).join(', then ')

const mail = (subject: string): Turn => ({
  tool: 'send_email',
  args: { to: 'ada@example.com', subject, text: 'Hello.' },
})

export async function stopAndRestore(world: World, report: Report): Promise<void> {
  const codes = async (turns: readonly Turn[]) => {
    const seen: SeenCall[] = []
    await run(await accountsAgent(world, turns, (call) => seen.push(call)), asked(turns))
    return seen.map((call) => call.code).join(', ')
  }

  await report.step('An agent pays an invoice', 'OK, 1 payment booked', async () => {
    return `${await codes([payment('INV-1001')])}, ${(await world.payments()).length} payment booked`
  })

  await report.step('Payments are revoked in mid-work', 'paid, then only DEVICE_REVOKED', () =>
    stopInTheMiddle(world, report),
  )

  await report.step('Mail goes on, payments do not', 'OK, DEVICE_REVOKED', () =>
    codes([mail('Status'), payment('INV-1007')]),
  )

  await report.step('Payments are restored', 'OK', async () => {
    await restore(world, DEVICES.payments)
    return codes([payment('INV-1007')])
  })
}

/** An agent makes this one payment. Undefined when the model did not call the tool. */
export async function pay(world: World, invoiceId: string): Promise<SeenCall | undefined> {
  let seen: SeenCall | undefined
  const turns = [payment(invoiceId)]
  await run(await accountsAgent(world, turns, (call) => void (seen = call)), asked(turns))
  return seen
}

export async function howOftenPaid(world: World, invoiceId: string): Promise<string> {
  const times = (await world.payments()).filter((one) => one.invoiceId === invoiceId).length
  return times === 1 ? 'paid once' : times === 0 ? 'not paid' : `paid ${times} times`
}

/** Undoes the last stop of the device, and only that one. */
export async function restore(world: World, deviceId: string): Promise<void> {
  const { epoch } = await world.operator.listDevices().then((list) => {
    const device = list.ok ? list.value.devices.find((one) => one.deviceId === deviceId) : undefined
    if (device === undefined) throw new Error(`${deviceId} is not listed`)
    return device
  })
  const restored = await world.operator.restore(deviceId, { ifEpoch: epoch, reason: 'the demo goes on' })
  if (!restored.ok) throw new Error(`restore: ${restored.code}`)
}

async function stopInTheMiddle(world: World, report: Report): Promise<string> {
  const turns = ['INV-1002', 'INV-1003', 'INV-1004', 'INV-1005', 'INV-1006'].map(payment)
  const seen: SeenCall[] = []
  let revokedAtMs = 0
  const ack = Promise.withResolvers<number>()
  const agent = await accountsAgent(world, turns, (call) => {
    seen.push(call)
    if (seen.length !== 1) return
    revokedAtMs = performance.now()
    // The agent is not told and does not wait.
    void world.operator
      .revoke(DEVICES.payments, { reason: 'demo: something looks wrong' })
      .then((revoked) => {
        if (revoked.ok) ack.resolve(performance.now())
        else ack.reject(new Error(`revoke: ${revoked.code}`))
      }, ack.reject)
  })
  await run(agent, asked(turns))
  const ackedAtMs = await ack.promise
  const later = seen.filter((call) => call.startedAtMs > ackedAtMs)
  const denied = later.filter((call) => call.code === 'DEVICE_REVOKED')
  const first = seen.find((call) => call.code === 'DEVICE_REVOKED')
  report.say(`revoke was acknowledged after ${(ackedAtMs - revokedAtMs).toFixed(1)} ms`)
  report.say(
    `the next call was denied ${((first?.endedAtMs ?? Number.NaN) - ackedAtMs).toFixed(1)} ms after that, request ${first?.requestId}`,
  )
  report.say(
    `calls that began after the acknowledgement: ${later.length}, of which ran: ${later.length - denied.length}`,
  )
  const stopped = seen[0]?.code === 'OK' && later.length > 0 && denied.length === later.length
  return stopped ? 'paid, then only DEVICE_REVOKED' : seen.map((call) => call.code).join(', ')
}

function parsed(output: unknown): Record<string, string> {
  try {
    const value: unknown = typeof output === 'string' ? JSON.parse(output) : output
    return typeof value === 'object' && value !== null ? (value as Record<string, string>) : {}
  } catch {
    return {}
  }
}
