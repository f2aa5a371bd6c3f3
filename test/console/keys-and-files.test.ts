import { describe, expect, it } from 'vitest'

import { bindingLines, judgeBindings, suggestedBindings } from '../../src/console/pages/keys/bindings.ts'
import { aboutKind, isLastWayIn } from '../../src/console/pages/keys/key-kinds.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'

describe('the bindings of a new key', () => {
  const deviceIds = ['a:prod:payments:01', 'a:prod:email:01', 'b:prod:email:01', 'solo']

  it('are one a line, each once', () => {
    expect(bindingLines(' a:prod:* \n\na:prod:*\r\nsolo')).toEqual(['a:prod:*', 'solo'])
  })

  it('say how many devices they name, and what is no pattern', () => {
    expect(judgeBindings(['a:prod:*', '*:prod:email:01', 'a:pr*', 'no way'], deviceIds)).toEqual([
      { text: 'a:prod:*', matches: 2 },
      { text: '*:prod:email:01', matches: 2 },
      { text: 'a:pr*', matches: 0, problem: 'A * stands for a whole segment only.' },
      { text: 'no way', matches: 0, problem: 'This is no device ID or pattern.' },
    ])
  })

  it('are suggested by service and environment, never as *', () => {
    expect(suggestedBindings(deviceIds, 2)).toEqual(['a:prod:*', 'b:prod:*'])
    expect(suggestedBindings(['solo'], 2)).toEqual(['solo'])
  })
})

it('knows the key without which nobody gets in again', () => {
  const admin = { keyId: 'k1', kind: 'admin', state: 'active' } as const
  const viewer = { keyId: 'k2', kind: 'viewer', state: 'active' } as const
  const ending = { keyId: 'k3', kind: 'admin', state: 'ending' } as const
  expect(isLastWayIn(admin, [admin, viewer, ending], [])).toBe(true)
  expect(isLastWayIn(viewer, [admin, viewer], [])).toBe(false)
  expect(isLastWayIn(admin, [admin, { ...admin, keyId: 'k4', kind: 'full' }], [])).toBe(false)
  expect(isLastWayIn(admin, [admin], ['ann@example.com'])).toBe(false)
  expect(isLastWayIn(admin, [admin], undefined)).toBe(false)
})

it('says of every kind of key what it may do', () => {
  expect(KEY_KINDS.filter((kind) => aboutKind(kind) === undefined)).toEqual([])
})
