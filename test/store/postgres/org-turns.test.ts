import { describe, expect, test } from 'vitest'

import { createOrgTurns } from '../../../src/store/postgres/org-turns.ts'

describe('turns of an org', () => {
  const started = (turns: ReturnType<typeof createOrgTurns>) => {
    const log: string[] = []
    const ends = new Map<string, () => void>()
    const run = (orgId: string, name: string) =>
      turns({ orgId, isStop: name.startsWith('stop') }, async () => {
        log.push(name)
        const { promise, resolve } = Promise.withResolvers<void>()
        ends.set(name, resolve)
        await promise
        if (name.startsWith('bad')) throw new Error(name)
        return name
      })
    const end = async (name: string) => {
      ends.get(name)?.()
      await new Promise(setImmediate)
    }
    return { log, run, end }
  }

  test('come two at once, the others in the order they asked, also after one that failed', async () => {
    const { log, run, end } = started(createOrgTurns({ waitMs: 10_000, mostOthers: 4 }))
    const all = Promise.allSettled(['a', 'bad', 'c', 'd'].map((name) => run('o_1', name)))
    const other = run('o_2', 'other')
    await new Promise(setImmediate)
    expect(log).toEqual(['a', 'bad', 'other'])
    await end('bad')
    expect(log).toEqual(['a', 'bad', 'other', 'c'])
    for (const name of ['a', 'c', 'd', 'other']) await end(name)
    expect((await all).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ])
    expect(await other).toBe('other')
  })

  test('come to stops first, in the order they asked', async () => {
    const { log, run, end } = started(createOrgTurns({ waitMs: 10_000, mostOthers: 4 }))
    const all = ['a', 'b', 'c', 'd', 'stop 1', 'stop 2'].map((name) => run('o_1', name))
    await new Promise(setImmediate)
    for (const name of ['a', 'b', 'stop 1', 'stop 2', 'c', 'd']) await end(name)
    await Promise.all(all)
    expect(log).toEqual(['a', 'b', 'stop 1', 'stop 2', 'c', 'd'])
  })

  test('of all orgs leave room for stops, and go round the orgs', async () => {
    const { log, run, end } = started(createOrgTurns({ waitMs: 10_000, mostOthers: 2 }))
    const names = ['a 1', 'a 2', 'a 3', 'a 4', 'b 1', 'b 2', 'c 1']
    const all = [...names, 'stop'].map((name) => run(name === 'stop' ? 'o_d' : `o_${name[0]}`, name))
    await new Promise(setImmediate)
    expect(log).toEqual(['a 1', 'a 2', 'stop'])
    const order = ['a 3', 'b 1', 'c 1', 'a 4', 'b 2']
    for (const name of ['a 1', 'a 2', 'stop', ...order]) await end(name)
    await Promise.all(all)
    expect(log).toEqual(['a 1', 'a 2', 'stop', ...order])
    // Nothing is left that counts.
    const again = ['a 5', 'a 6'].map((name) => run('o_a', name))
    await new Promise(setImmediate)
    for (const name of ['a 5', 'a 6']) await end(name)
    await Promise.all(again)
  })

  test('that do not come in time are refused, and run nothing', async () => {
    const { log, run, end } = started(createOrgTurns({ waitMs: 1, mostOthers: 4 }))
    const running = [run('o_1', 'a'), run('o_1', 'b')]
    await expect(run('o_1', 'late')).rejects.toMatchObject({ code: 'STORE_BUSY' })
    await end('a')
    await end('b')
    expect(await Promise.all(running)).toEqual(['a', 'b'])
    expect(log).toEqual(['a', 'b'])
  })
})
