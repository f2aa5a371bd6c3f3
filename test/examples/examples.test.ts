import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { NEIGHBOURS, type Neighbour } from './neighbours.ts'
import { EXAMPLES_DIR, startWorld, type World } from './world.ts'

const EXAMPLES = readdirSync(EXAMPLES_DIR).filter((name) => name.endsWith('.ts'))
const DEVICES = ['openai-agent:dev:payments:01', 'openai-agent:dev:email:01']

let world: World
beforeAll(async () => {
  world = await startWorld()
}, 60_000)
afterAll(() => world[Symbol.asyncDispose](), 60_000)

describe('an example', () => {
  test.each(EXAMPLES)('%s can be copied: it imports nothing beside it, and says how to run it', (example) => {
    const text = readFileSync(join(EXAMPLES_DIR, example), 'utf8')
    expect(text).not.toMatch(/from '\.|import\('\./)
    expect(text.split('import ')[0]).toContain(`node --conditions=holdpoint-source examples/${example}`)
  })

  test.each(EXAMPLES.filter((example) => !(example in NEIGHBOURS)))(
    '%s exits 0, without a model key and against what npm start starts',
    async (example) => {
      const { status, text } = await world.run(example)
      if (usesModel(example)) expect(text).toContain('OPENAI_API_KEY is not set')
      expect({ status, text }).toEqual({ status: 0, text })
    },
    60_000,
  )

  describe.each(Object.entries(NEIGHBOURS))('%s', (example, { missing, variable, start }: Neighbour) => {
    test.skipIf(missing !== undefined)(
      'exits 0 beside a real one of what it works with',
      async () => {
        await using neighbour = await start()
        const { status, text } = await world.run(example, { [variable]: neighbour.url })
        expect({ status, text }).toEqual({ status: 0, text })
      },
      60_000,
    )

    test('says what to start when it is run alone, and exits 2', async () => {
      const { status, text } = await world.run(example)
      expect(text).toContain(`${variable} is not set. Start`)
      expect(status).toBe(2)
    })
  })
})

function usesModel(example: string): boolean {
  return readFileSync(join(EXAMPLES_DIR, example), 'utf8').includes('OPENAI_API_KEY')
}

describe('with payments and mail stopped beforehand', () => {
  beforeAll(async () => {
    for (const device of DEVICES) expect(await world.operator.revoke(device)).toMatchObject({ ok: true })
  })

  // One that is stopped in its own process, one at the tool server, one over MCP.
  test.each([
    ['guard-one-tool.ts', 'Refunds: 0.'],
    ['remote-tools.ts', 'AssertionError'],
    ['mcp-client.ts', 'AssertionError'],
  ])(
    '%s notices that what it shows is not so, and exits 1',
    async (example, says) => {
      const { status, text } = await world.run(example)
      expect(text).toContain(says)
      expect(text).toContain('DEVICE_REVOKED')
      expect(status).toBe(1)
    },
    60_000,
  )
})
