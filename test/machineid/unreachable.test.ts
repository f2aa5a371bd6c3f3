import { expect, test } from 'vitest'

import { AuthorityFailure } from '../../src/guard/fail-closed.ts'
import { failureOf } from '../../src/machineid/transport-failure.ts'

const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
const toldOf = (origin: string) => failureOf(refused, { origin, headRead: false })

test('only a control plane of this machine can be started from here', () => {
  for (const origin of ['http://127.0.0.1:4100', 'http://localhost:4100', 'http://[::1]:4100'])
    expect(toldOf(origin).message).toContain('Try: npx holdpoint start')
  const away = toldOf('https://control.example.com')
  expect(away).toBeInstanceOf(AuthorityFailure)
  expect(away).toMatchObject({ code: 'AUTHORITY_UNREACHABLE' })
  expect(away.message).not.toContain('npx holdpoint start')
  expect(away.message).toContain('Check the address, the network to it')
})
