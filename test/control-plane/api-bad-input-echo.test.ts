import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'

import { seedFrom } from '../fixtures/random.ts'
import { HOSTILE_STRINGS } from './api-bad-input-values.ts'
import { DEVICE, startWorld } from './openapi-world.ts'

// A text that is accepted comes back as it was sent, to the last byte, wherever it is shown, and as data: in JSON, in
// lines of JSON, in the data of an event.

const SEED = seedFrom('FUZZ_SEED')
const RUNS = 10 * Number(process.env['FUZZ_RUNS'] ?? 1)

const world = await startWorld({ plan: 'max', threads: true })
const { must, ask, operation } = world
afterAll(async () => {
  console.log(`Texts: FUZZ_SEED=${SEED}`)
  await world[Symbol.asyncDispose]()
})

/** Calls `check` with each hostile text of whole characters that is short enough, and with others. */
async function forTexts(maxLength: number, check: (text: string) => Promise<void>): Promise<void> {
  const isKept = (text: string) => text.isWellFormed() && !text.includes('\0')
  const known = HOSTILE_STRINGS.filter((text) => isKept(text) && text.length > 0 && text.length <= maxLength)
  const unknown = fc
    .oneof(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'binary', minLength: 1 }))
    .map((text) => text.slice(0, maxLength).toWellFormed().replaceAll('\0', '?'))
  await fc.assert(fc.asyncProperty(unknown, check), {
    seed: SEED,
    numRuns: known.length + RUNS,
    examples: known.map((text) => [text]),
  })
}

describe('a text comes back as it was sent', () => {
  test('the reason of a stop: in the list, the audit and the feed', async () => {
    await forTexts(500, async (reason) => {
      const { items } = await ask(operation('getFeed'), {
        query: { types: 'change' },
        meanwhile: () => must('postDevicesRevoke', { body: { deviceId: DEVICE, reason } }),
      })
      expect(items).toMatchObject([{ type: 'change', row: { action: 'device.revoke', reason } }])
      expect((await must('getDevicesList')).devices[0].reason).toBe(reason)
    })
    const { items } = await ask(operation('getAudit'), { query: { format: 'jsonl' } })
    const { rows } = await must('getAudit', { query: { limit: '1000' } })
    expect(items).toEqual(rows)
    expect(await must('getAuditVerify')).toMatchObject({ intact: true })
  })

  test('the reason of a lock and of an org switch', async () => {
    await forTexts(500, async (reason) => {
      const { lockId } = await must('postLocks', { body: { pattern: 'a:*', reason } })
      const { locks } = await must('getLocks')
      expect(locks).toMatchObject([{ lockId, reason }])
      await must('postOrgDisable', { body: { reason } })
      expect((await must('getUsage')).org.reason).toBe(reason)
    })
  })

  test('labels: names and values', async () => {
    await forTexts(64, async (text) => {
      // The one name that is refused.
      if (text === '__proto__') return
      const labels = { [text]: text, other: 'x' }
      const asked = await ask(operation('postDevicesRegister'), { body: { deviceId: 'a:labelled', labels } })
      expect(asked.status).toBe(200)
      const { devices } = await must('getDevicesList')
      expect(devices.find(({ deviceId }: { deviceId: string }) => deviceId === 'a:labelled').labels).toEqual(
        labels,
      )
      const label = { name: text, value: text }
      const preview = await must('postDevicesRevokeBatch', { query: { preview: 'true' }, body: { label } })
      expect(preview).toMatchObject({ deviceCount: 1, devices: [{ deviceId: 'a:labelled' }] })
    })
  })

  test('the name of a key', async () => {
    await forTexts(100, async (name) => {
      const { keyId } = await must('postOrgKeys', { body: { kind: 'viewer', name } })
      const { keys } = await must('getOrgKeys')
      expect(keys.find((key: { keyId: string }) => key.keyId === keyId).name).toBe(name)
    })
  })

  test('the nonce of a question, and where it came from', async () => {
    const asked = new Map<string, string>()
    await forTexts(128, async (text) => {
      const nonce = text.padEnd(16, '.')
      const body = { deviceId: 'not:registered', nonce, context: contextOf(text) }
      const answer = await must('postDevicesValidate', { body })
      expect(answer.nonce).toBe(nonce)
      asked.set(answer.request_id, text)
    })
    const stored = async () => (await must('getDecisions', { query: { limit: '1000' } })).decisions
    await expect.poll(async () => (await stored()).length).toBe(asked.size)
    for (const decision of await stored()) {
      expect(decision).toMatchObject(contextOf(asked.get(decision.request_id) ?? ''))
    }
  })
})

function contextOf(text: string) {
  return { boundary: text, tool: text, callId: text, runId: text, replica: text }
}

test.each(['half \uD83D', 'NUL \0'])(
  '%j is refused where it would be kept, and never held against a question',
  async (half) => {
    for (const [call, body] of [
      ['postDevicesRevoke', { deviceId: DEVICE, reason: half }],
      ['postLocks', { pattern: 'a:*', reason: half }],
      ['postOrgKeys', { kind: 'viewer', name: half }],
      ['postDevicesRegister', { deviceId: DEVICE, labels: { half } }],
      ['postDevicesRegister', { deviceId: DEVICE, labels: { [half]: 'x' } }],
    ] as const) {
      expect((await ask(operation(call), { body })).body).toMatchObject({ code: 'BAD_REQUEST' })
    }
    const question = { deviceId: DEVICE, context: { tool: half } }
    expect(await must('postDevicesValidate', { body: question })).toMatchObject({ deviceId: DEVICE })
  },
)

test('a key that is quoted in a reason or a name is blotted out', async () => {
  const { runtime } = world.authority.keys
  const quoting = `It was ${runtime}.`
  await must('postDevicesRevoke', { body: { deviceId: DEVICE, reason: quoting } })
  const { keyId } = await must('postOrgKeys', { body: { kind: 'viewer', name: quoting } })
  const { items } = await ask(operation('getAudit'), { query: { format: 'jsonl' } })
  const { keys } = await must('getOrgKeys')
  expect(items.at(-2)).toMatchObject({ action: 'device.revoke', reason: 'It was org_[redacted].' })
  expect(keys.at(-1)).toMatchObject({ keyId, name: 'It was org_[redacted].' })
  expect(JSON.stringify(items)).not.toContain(runtime)
})

test('a label named __proto__ is refused, not left out', async () => {
  const body = `{"deviceId":"${DEVICE}","labels":{"__proto__":"x"}}`
  expect((await ask(operation('postDevicesRegister'), { body })).body).toMatchObject({ code: 'BAD_REQUEST' })
})

test('whatever is wrong with a call, its answer is JSON, never a page', async () => {
  for (const call of world.contract.operations) {
    if (call.id === 'getFeed' || call.id === 'getRecover') continue
    const page = { 'content-type': 'text/html', accept: 'text/html' }
    const answer = await ask(call, { headers: page, ...(call.method === 'POST' && { body: '<p>' }) })
    expect(answer.contentType).toMatch(call.id === 'getMetrics' ? 'text/plain' : 'application/json')
  }
})
