// The id that a unit's effects are keyed by: of its gate's name and its own id, and of no other two.
import { expect, test } from 'vitest'

import { guardedJob } from '../../src/gates/job.ts'
import { world } from './bank.ts'

/** Each mails once, if it is taken for a unit of its own. */
async function mailing(...units: readonly (readonly [name: string, unitId: string])[]) {
  const { guard, effects, mails, authority } = await world()
  for (const [index, [name, id]] of units.entries()) {
    const job = guardedJob(guard, {
      name,
      effects,
      onDenied: 'throw',
      unitId: () => id,
      run: (work, _input: undefined) => work.effects.mail(1),
    })
    await job(undefined)
    expect(mails, `unit ${index} is one of its own`).toHaveLength(index + 1)
  }
  const asked = authority.questions.filter(({ boundary }) => boundary === 'task')
  return asked.map(({ callId }) => callId)
}

test('no two gates share the id of a unit, wherever a colon stands', async () => {
  await mailing(
    ['orders', 'eu:1'],
    ['orders:eu', '1'],
    ['orders%3Aeu', '1'],
    ['orders%253Aeu', '1'],
    ['orders', ':eu:1'],
    ['orders:', 'eu:1'],
  )
})

test('it is the name and the id as they are, wherever that is clear', async () => {
  expect(await mailing(['charge orders/eu', '17'], ['nightly', '2026-01-01T00:00:00Z'], ['a', '5%'])).toEqual(
    ['charge orders/eu:17', 'nightly:2026-01-01T00:00:00Z', 'a:5%'],
  )
})
