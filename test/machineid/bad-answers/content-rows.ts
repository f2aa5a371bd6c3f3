import { body, EPOCH, spoiled, type Row } from './row.ts'

const POLLUTION = { allowed: true, code: 'ALLOW', request_id: 'polluted' }

function pollute(): void {
  Object.assign(Object.prototype, POLLUTION)
}

function cleanUp(): void {
  for (const name of Object.keys(POLLUTION)) Reflect.deleteProperty(Object.prototype, name)
}

/** `"name":value` in the text, where the decision says it is allowed. */
function replaceAllowed(text: string, replacement: string): string {
  const replaced = text.replace('"allowed":true', replacement)
  if (replaced === text) throw new Error('The good answer has changed its form.')
  return replaced
}

/** Rows 1 to 42: a complete answer whose content is not the allow that was asked for. */
export const CONTENT_ROWS: readonly Row[] = [
  {
    no: 1,
    name: 'allowed false with a known code passes the code through',
    code: 'DEVICE_REVOKED',
    serve: spoiled((decision) => Object.assign(decision, { allowed: false, code: 'DEVICE_REVOKED' })),
  },
  {
    no: 1,
    name: 'a plan code passes through too',
    code: 'PLAN_FROZEN',
    serve: spoiled((decision) => Object.assign(decision, { allowed: false, code: 'PLAN_FROZEN' })),
  },
  {
    no: 2,
    name: 'allowed false with code ALLOW',
    code: 'AUTHORITY_CONTRADICTION',
    serve: spoiled((decision) => Object.assign(decision, { allowed: false })),
  },
  {
    no: 3,
    name: 'allowed true with code DEVICE_REVOKED',
    code: 'AUTHORITY_CONTRADICTION',
    serve: spoiled((decision) => Object.assign(decision, { code: 'DEVICE_REVOKED' })),
  },
  {
    no: 4,
    name: 'allowed true with a code nobody knows',
    code: 'AUTHORITY_CONTRADICTION',
    serve: spoiled((decision) => Object.assign(decision, { code: 'SYSTEM_UNAVAILABLE_ALLOW' })),
  },
  {
    no: 5,
    name: 'allowed true without a code',
    code: 'AUTHORITY_BAD_BODY',
    serve: spoiled((decision) => delete decision['code']),
  },
  {
    no: 6,
    name: 'no request_id',
    code: 'AUTHORITY_BAD_BODY',
    serve: spoiled((_, envelope) => delete envelope['request_id']),
  },
  {
    no: 6,
    name: 'an empty request_id',
    code: 'AUTHORITY_BAD_BODY',
    serve: spoiled((_, envelope) => Object.assign(envelope, { request_id: '' })),
  },
  ...[7, null, true, ['r-1'], { id: 'r-1' }].map((requestId) => ({
    no: 7,
    name: `request_id ${JSON.stringify(requestId)} is not a string`,
    code: 'AUTHORITY_BAD_BODY',
    serve: spoiled((_, envelope) => Object.assign(envelope, { request_id: requestId })),
  })),
  {
    no: 8,
    name: 'allowed true beside an error in the decision',
    code: 'AUTHORITY_CONTRADICTION',
    serve: spoiled((decision) => Object.assign(decision, { error: 'internal_error' })),
  },
  {
    no: 8,
    name: 'allowed true beside an error in the envelope',
    code: 'AUTHORITY_CONTRADICTION',
    serve: spoiled((_, envelope) => Object.assign(envelope, { error: 'internal_error' })),
  },
  ...(
    [
      [9, 'true'],
      [10, 'false'],
      [11, 1],
      [12, {}],
      [13, [true]],
      [14, null],
    ] as const
  ).map(([no, allowed]) => ({
    no,
    name: `allowed is ${JSON.stringify(allowed)}`,
    code: 'AUTHORITY_BAD_BODY',
    serve: spoiled((decision) => Object.assign(decision, { allowed })),
  })),
  {
    no: 15,
    name: 'no allowed',
    code: 'AUTHORITY_BAD_BODY',
    serve: spoiled((decision) => delete decision['allowed']),
  },
  {
    no: 16,
    name: 'Allowed with a capital',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => replaceAllowed(text, '"Allowed":true')),
  },
  {
    no: 17,
    name: 'the answer one level down, under data',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => `{"data":${text}}`),
  },
  {
    no: 18,
    name: 'an array around the answer',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => `[${text}]`),
  },
  ...(
    [
      [19, 'true'],
      [20, '"ALLOW"'],
      [21, 'null'],
      [22, '1'],
      [23, '{}'],
      [24, '{"__proto__":{"allowed":true,"code":"ALLOW","request_id":"r-1"}}'],
    ] as const
  ).map(([no, text]) => ({
    no,
    name: `the whole body is ${text}`,
    code: 'AUTHORITY_BAD_BODY',
    serve: body(() => text),
  })),
  {
    no: 24,
    name: 'the decision is in __proto__ of an otherwise good answer',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => replaceAllowed(text, '"__proto__":{"allowed":true}')),
  },
  {
    no: 25,
    name: 'allowed twice, false and then true',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => replaceAllowed(text, '"allowed":false,"allowed":true')),
  },
  {
    no: 26,
    name: 'allowed twice, true and then false',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => replaceAllowed(text, '"allowed":true,"allowed":false')),
  },
  {
    no: 27,
    name: 'allowed twice, once written with an escape',
    code: 'AUTHORITY_BAD_BODY',
    serve: body((text) => replaceAllowed(text, '"allowed":false,"allo\\u0077ed":true')),
  },
  {
    no: 28,
    name: 'no allowed, code or request_id, but Object.prototype has them',
    code: 'AUTHORITY_BAD_BODY',
    serve: (served) => {
      for (const name of Object.keys(POLLUTION)) {
        delete served.good.decision[name]
        delete served.good.envelope[name]
      }
      const text = JSON.stringify(served.good.envelope)
      body(() => text)(served)
      pollute()
    },
    cleanUp,
  },
  {
    no: 29,
    name: '20,000 levels of nesting',
    code: ['AUTHORITY_BODY_TOO_LARGE', 'AUTHORITY_BAD_BODY'],
    serve: body(() => '['.repeat(20_000) + ']'.repeat(20_000)),
  },
  {
    no: 29,
    name: '8,000 levels of nesting within the size limit',
    code: ['AUTHORITY_BODY_TOO_LARGE', 'AUTHORITY_BAD_BODY'],
    serve: body(() => '['.repeat(8000) + ']'.repeat(8000)),
  },
  {
    no: 30,
    name: "another device's answer",
    code: 'AUTHORITY_WRONG_DEVICE',
    serve: spoiled((decision) => Object.assign(decision, { deviceId: 'openai-agent:prod:tool-server:02' })),
  },
  {
    no: 31,
    name: 'the device ID in capitals',
    code: 'AUTHORITY_WRONG_DEVICE',
    serve: spoiled((decision) =>
      Object.assign(decision, { deviceId: String(decision['deviceId']).toUpperCase() }),
    ),
  },
  {
    no: 31,
    name: 'the device ID in another Unicode form',
    code: 'AUTHORITY_WRONG_DEVICE',
    serve: spoiled((decision) =>
      Object.assign(decision, { deviceId: String(decision['deviceId']).replace('a', 'а') }),
    ),
  },
  {
    no: 32,
    name: 'no device ID',
    code: 'AUTHORITY_WRONG_DEVICE',
    profiles: ['holdpoint'],
    serve: spoiled((decision) => delete decision['deviceId']),
  },
  {
    no: 32,
    name: 'no decision for the device',
    code: 'AUTHORITY_WRONG_DEVICE',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) => Object.assign(envelope, { decisions: [] })),
  },
  {
    no: 33,
    name: 'the nonce of an earlier question',
    code: 'AUTHORITY_STALE_ANSWER',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) =>
      Object.assign(envelope, { nonce: '7f3c2b1a-0000-4000-8000-000000000000' }),
    ),
  },
  {
    no: 34,
    name: 'no nonce',
    code: 'AUTHORITY_STALE_ANSWER',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) => delete envelope['nonce']),
  },
  {
    no: 35,
    name: 'only the beginning of the nonce',
    code: 'AUTHORITY_STALE_ANSWER',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) =>
      Object.assign(envelope, { nonce: String(envelope['nonce']).slice(0, -1) }),
    ),
  },
  {
    no: 38,
    name: 'the previous answer, delivered on the reused socket',
    code: 'AUTHORITY_STALE_ANSWER',
    profiles: ['holdpoint'],
    keepsConnection: true,
    serve: ({ socket, previous }) => socket.write(previous),
  },
  {
    no: 39,
    name: 'an org epoch lower than the highest seen',
    code: 'AUTHORITY_ROLLBACK',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) => Object.assign(envelope, { orgEpoch: EPOCH - 1 })),
  },
  {
    no: 40,
    name: "another org's answer",
    code: 'AUTHORITY_WRONG_DEVICE',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) => Object.assign(envelope, { orgId: 'o_other' })),
  },
  {
    no: 40,
    name: 'an answer that names no org',
    code: 'AUTHORITY_WRONG_DEVICE',
    profiles: ['holdpoint'],
    serve: spoiled((_, envelope) => delete envelope['orgId']),
  },
  {
    no: 42,
    name: 'a request_id that was on an answer before',
    code: 'AUTHORITY_STALE_ANSWER',
    profiles: ['machineid'],
    serve: ({ socket, previous }) => socket.write(previous),
  },
]
