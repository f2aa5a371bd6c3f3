import { resolve } from 'node:path'

import { beforeAll, afterAll, expect, onTestFinished, test } from 'vitest'

import { createGuard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { StartupDenied } from '../../src/startup-denied.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const SERVER = 'openai-agent:test:tool-server:01'
const PAYMENTS = 'openai-agent:test:payments:01'
const UNKNOWN_KEY = `org_runtime_${'a'.repeat(16)}_${'a'.repeat(43)}00000000`

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestControlPlane()
})
afterAll(() => authority.close())

/** What a start is told, and every log line of it. */
async function start(baseUrl: string, orgKey: string) {
  const lines: Record<string, unknown>[] = []
  const client = new MachineID({ orgKey, baseUrl })
  onTestFinished(() => client.close())
  const guard = createGuard({
    authority: client,
    serverDeviceId: SERVER,
    surfaces: { payments: PAYMENTS },
    journal: createMemoryJournal(),
    log: createLogger({ destination: { write: (line) => void lines.push(JSON.parse(line)) } }),
  })
  onTestFinished(async () => void (await guard.close()))
  const decision = await guard.start()
  if (decision.allowed) throw new Error('It was allowed.')
  return { decision, lines, message: new StartupDenied(decision).message }
}

test('a key that the control plane does not know: log and message say so, and show no key', async () => {
  const { decision, lines, message } = await start(authority.url, UNKNOWN_KEY)
  expect(decision).toMatchObject({ allowed: false, code: 'AUTHORITY_UNAUTHORIZED' })
  const unknown = expect.stringContaining('does not know this key, or it has ended (status 401)')
  expect(lines).toMatchObject([
    { device_id: SERVER, err: unknown, msg: 'registration refused: the authority does not take this key' },
    { boundary: 'startup', err: unknown },
  ])
  expect(message).toContain('The key is not known there')
  expect(JSON.stringify(lines) + message).not.toContain('aaaa')
})

test('a key that may not register: the code that the control plane gave is in the log', async () => {
  const { lines } = await start(authority.url, authority.keys.stop)
  expect(lines[0]).toMatchObject({ err: expect.stringMatching(/status 403 and says INSUFFICIENT_SCOPE/) })
})

test("the operators' port as MACHINEID_BASE_URL: log and message say that it is that", async () => {
  const { decision, lines, message } = await start(authority.operatorUrl, authority.keys.runtime)
  expect(decision).toMatchObject({ allowed: false, code: 'AUTHORITY_BAD_STATUS' })
  expect(lines.at(-1)).toMatchObject({ err: expect.stringMatching(/is for operators.*\(status 421\)/) })
  expect(message).toMatch(/421: MACHINEID_BASE_URL is the operators’ port/)
})

test('nobody there: that is no answer, and not about the key', async () => {
  const { decision, lines } = await start('http://127.0.0.1:9', authority.keys.runtime)
  expect(decision).toMatchObject({ allowed: false, code: 'AUTHORITY_UNREACHABLE' })
  expect(lines[0]).toMatchObject({ msg: 'registration got no usable answer' })
})

test('MACHINEID_ORG_KEY_FILE that is not there: the whole path, and where there is one', () => {
  const env = {
    MACHINEID_BASE_URL: 'http://127.0.0.1:4100',
    MACHINEID_ORG_KEY_FILE: 'nowhere/tool-server.json',
  }
  expect(() => MachineID.fromEnv(env)).toThrow(
    `gives no key: there is no file ${resolve('nowhere/tool-server.json')}. Name the file that holds a runtime key; npx holdpoint start writes one`,
  )
})
