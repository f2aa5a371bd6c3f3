import { readFileSync } from 'node:fs'

import { RunContext } from '@openai/agents'
import { guardedTool, startGuard } from 'holdpoint'
import { MachineID } from 'holdpoint/client'
import { startControlPlane } from 'holdpoint/control-plane'
import { guardedLoop, type LoopEnd } from 'holdpoint/gates'
import { createToolServer } from 'holdpoint/tool-server'
import { z } from 'zod'

const DATA_DIR = './consumer-data'
const controlPlane = await startControlPlane({
  env: { DATA_DIR, CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', LOG_LEVEL: 'silent' },
})
const { operator: orgKey } = JSON.parse(readFileSync(controlPlane.operatorFile, 'utf8')) as {
  operator: string
}
const operator = new MachineID({ orgKey, baseUrl: controlPlane.operatorUrl, profile: 'holdpoint' })

const guard = await startGuard({
  surfaces: ['payments'],
  env: {
    DATA_DIR,
    LOG_LEVEL: 'silent',
    MACHINEID_BASE_URL: controlPlane.url,
    MACHINEID_ORG_KEY_FILE: controlPlane.toolServerFile,
  },
})
const sent: string[] = []
const refund = guardedTool(guard.surface('payments'), {
  name: 'refund_invoice',
  description: 'Refund one invoice in full',
  parameters: z.object({ invoiceId: z.string() }),
  effect: 'payment',
  key: ({ invoiceId }) => invoiceId,
  commit: async ({ invoiceId }) => {
    sent.push(invoiceId)
    return { refunded: invoiceId }
  },
})
async function call(invoiceId: string): Promise<unknown> {
  const input = JSON.stringify({ invoiceId })
  const toolCall = {
    type: 'function_call',
    callId: `call_${invoiceId}`,
    name: refund.name,
    arguments: input,
  } as const
  return JSON.parse(String(await refund.invoke(new RunContext({}), input, { toolCall })))
}

const payments = 'openai-agent:dev:payments:01'
const allowed = await call('INV-1')
const stop = await operator.revoke(payments, { reason: 'tried' })
const stopped = await call('INV-2')
if (stop.ok) await operator.restore(payments, { ifEpoch: stop.value.epoch })
const restored = await call('INV-3')
process.stdout.write(JSON.stringify({ allowed, stopped, restored, sent }))

await guard.close()
await operator.close()
await controlPlane.close()

/** Only to be compiled. */
export const kept: readonly unknown[] = [guardedLoop, createToolServer]
export type Kept = LoopEnd<string>
