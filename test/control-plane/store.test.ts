import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { describeControlPlaneStore } from '../contract/control-plane-store.ts'

describeControlPlaneStore('sqlite', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-store-'))
  return {
    open: async () => openControlPlaneStore({ file: join(dir, 'control-plane.db') }),
    discard: () => rm(dir, { recursive: true }),
  }
})
