import fc from 'fast-check'
import { expect, test } from 'vitest'

import { AuthorityFailure } from '../../src/guard/fail-closed.ts'
import { readBatchAnswer, type BatchQuestion } from '../../src/machineid/answer.ts'
import { httpAnswer } from '../fixtures/raw-server.ts'
import { goodAnswer, ORG } from './bad-answers/row.ts'
import { ask, codeOf, DEVICE, serverAndClient } from './harness.ts'

const ASKED = {
  orgId: ORG,
  nonce: '7f3c2b1a-4d5e-4f60-8a9b-0c1d2e3f4a5b',
  deviceIds: ['openai-agent:prod:tool-server:01', DEVICE],
}
const GOOD = JSON.stringify({
  orgId: ASKED.orgId,
  orgEpoch: 12,
  nonce: ASKED.nonce,
  request_id: '0198f3a0-0000-7000-8000-000000000000',
  decisions: ASKED.deviceIds.map((deviceId) => ({ deviceId, allowed: true, code: 'ALLOW', epoch: 3 })),
})

/** What is done to a good answer, at a place given as a share of its length. */
const edit = fc.record({
  kind: fc.constantFrom('flip', 'set', 'insert', 'drop', 'double', 'cut'),
  place: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  byte: fc.nat({ max: 255 }),
  count: fc.integer({ min: 1, max: 40 }),
})
const edits = fc.array(edit, { minLength: 1, maxLength: 4 })

type Edit = Parameters<Parameters<typeof edit.map>[0]>[0]

function mutated(good: Uint8Array, all: readonly Edit[]): Buffer {
  let bytes: Buffer = Buffer.from(good)
  for (const { kind, place, byte, count } of all) {
    const at = Math.floor(place * bytes.length)
    const before = bytes.subarray(0, at)
    const after = bytes.subarray(at)
    const changed = {
      flip: () => [before, Buffer.of((after[0] ?? 0) ^ (1 << (byte % 8))), after.subarray(1)],
      set: () => [before, Buffer.of(byte), after.subarray(1)],
      insert: () => [before, Buffer.of(byte), after],
      drop: () => [before, after.subarray(count)],
      double: () => [before, after.subarray(0, count), after],
      cut: () => [before],
    }[kind as 'flip']()
    bytes = Buffer.concat(changed)
  }
  return bytes
}

/**
 * The oracle, with JSON.parse alone: everything that the question fixes is there, word for word. The authority
 * alone chooses its request ID and its epochs, so any of them says the same; unknown fields say nothing.
 */
function assertGood(body: Buffer, { orgId, nonce, deviceIds }: BatchQuestion): void {
  const answer = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)) as object
  expect(answer).toMatchObject({
    orgId,
    nonce,
    orgEpoch: expect.any(Number),
    request_id: expect.stringMatching(/./),
    decisions: deviceIds.map((deviceId) => ({
      deviceId,
      allowed: true,
      code: 'ALLOW',
      epoch: expect.any(Number),
    })),
  })
  expect(JSON.stringify(answer)).not.toContain('"error":')
}

/** The first complete JSON object in an HTTP answer: bytes after the announced end belong to no answer. */
function firstObject(bytes: Buffer): Buffer {
  const start = bytes.indexOf('{"')
  for (let end = bytes.indexOf('}', start); end >= 0; end = bytes.indexOf('}', end + 1)) {
    const object = bytes.subarray(start, end + 1)
    if (isJson(object)) return object
  }
  throw new Error('Allowed without a JSON object.')
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString())
    return true
  } catch {
    return false
  }
}

function isAllowed(body: Buffer): boolean {
  try {
    return readBatchAnswer(body, ASKED).decisions.every(({ allowed }) => allowed)
  } catch (error) {
    if (error instanceof AuthorityFailure) return false
    throw error
  }
}

test('G4: a mutated answer never allows, unless it still says exactly the same', () => {
  let allowed = 0
  fc.assert(
    fc.property(edits, (all) => {
      const body = mutated(Buffer.from(GOOD), all)
      if (!isAllowed(body)) return
      allowed += 1
      assertGood(body, ASKED)
    }),
    { numRuns: 30_000 },
  )
  // Flips of a digit in an epoch, for example.
  expect(allowed).toBeGreaterThan(0)
})

test('G4: the same over a socket, with the status line and the headers mutated too', async () => {
  let next: readonly Edit[] = []
  let sent: { bytes: Buffer; nonce: string } | undefined
  const { client } = await serverAndClient(
    (request, socket) => {
      const { nonce } = request.json as { nonce: string }
      const bytes = mutated(httpAnswer(goodAnswer('holdpoint', request).text), next)
      sent = { bytes, nonce }
      socket.end(bytes)
    },
    { orgId: ORG },
  )
  const seen = { allowed: 0, denied: 0 }
  await fc.assert(
    fc.asyncProperty(edits, async (all) => {
      next = all
      const answer = await ask(client)
      if (codeOf(answer) !== 'ALLOW') {
        seen.denied += 1
        return
      }
      seen.allowed += 1
      if (sent === undefined) throw new Error('Allowed without an answer.')
      const { bytes, nonce } = sent
      assertGood(firstObject(bytes), { orgId: ORG, nonce, deviceIds: [DEVICE] })
    }),
    { numRuns: 3000 },
  )
  expect(Math.min(seen.allowed, seen.denied)).toBeGreaterThan(10)
})

test('the oracle can tell: an answer to another question is not good', () => {
  const other = { ...ASKED, nonce: `${ASKED.nonce}0` }
  expect(() => assertGood(Buffer.from(GOOD), ASKED)).not.toThrow()
  expect(() => assertGood(Buffer.from(GOOD), other)).toThrow()
  expect(() => assertGood(Buffer.from(GOOD.replace('true', 'false')), ASKED)).toThrow()
})
