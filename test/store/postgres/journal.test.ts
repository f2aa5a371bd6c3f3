import { describe } from 'vitest'

import { describeJournal } from '../../contract/journal.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

describe.skipIf(noPostgres)('on Postgres', () => {
  const { emptied } = toolStores()
  describeJournal('postgres', async (nowMs) => (await emptied(nowMs)).journal)
})
