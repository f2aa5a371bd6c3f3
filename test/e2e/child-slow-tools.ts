// A program like our tool server, with one tool that runs until it is told to stop and one slow payment.
import { z } from 'zod'
import { guardedTool } from '../../src/agents/guarded-tool.ts'
import { createLogger } from '../../src/log.ts'
import { runProgram } from '../../src/programs/lifecycle.ts'
import { startGuard } from '../../src/start-guard.ts'
import { createToolServer } from '../../src/tool-server/tool-server.ts'

const log = createLogger()
const PAYMENT_MS = 500

await runProgram(async () => {
  const guard = await startGuard({ surfaces: ['payments'], log })
  const read = guardedTool(guard.surface('tool-server'), {
    name: 'read_until_stopped',
    description: 'Reads until its signal is aborted',
    parameters: z.object({}),
    effects: 'none',
    execute: async (_args, { signal }) => {
      log.info('read started')
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return 'stopped when told'
    },
  })
  const pay = guardedTool(guard.surface('payments'), {
    name: 'pay_slowly',
    description: 'Pays, which takes a while',
    parameters: z.object({}),
    effect: 'payment',
    key: 'each-call',
    commit: async (_args, { signal }) => {
      log.info('payment started')
      await new Promise((resolve) => setTimeout(resolve, PAYMENT_MS))
      return { paid: true, toldToStop: signal.aborted }
    },
  })
  const toolServer = createToolServer({ guard, tools: [read, pay], log })
  const { url } = await toolServer.listen({ port: 0 })
  log.info({ url }, 'listening')
  return {
    url,
    close: async () => {
      await guard.close()
      await toolServer.close()
    },
  }
}, log)
