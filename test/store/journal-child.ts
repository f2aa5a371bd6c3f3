// A process of its own for journal.test.ts: `race` owns what it can get and prints it, `hang` stores an intent and stays.
import { setInterval } from 'node:timers'

import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { intent } from '../contract/intent.ts'

const [role, file = ''] = process.argv.slice(2)
const journal = createSqliteJournal({ file })
const begin = async (key: string) => (await journal.begin(intent(key), { leaseMs: 60_000 })).state === 'begun'

if (role === 'race') {
  const owned: string[] = []
  for (let key = 0; key < 100; key += 1) if (await begin(`${key}`)) owned.push(`${key}`)
  console.log(JSON.stringify(owned))
  await journal.close()
} else {
  console.log(await begin('k'))
  setInterval(() => {}, 1000)
}
