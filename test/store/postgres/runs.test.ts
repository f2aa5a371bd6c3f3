import { describe } from 'vitest'

import { describeRunFence } from '../../contract/run-fence.ts'
import { describeRunStore } from '../../contract/run-store.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

describe.skipIf(noPostgres)('on Postgres', () => {
  const { emptied } = toolStores()
  describeRunStore('postgres', async (nowMs) => (await emptied(nowMs)).runs)
  describeRunFence('postgres', async (nowMs) => (await emptied(nowMs)).runs)
})
