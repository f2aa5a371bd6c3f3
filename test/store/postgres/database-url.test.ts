import { expect, test } from 'vitest'

import { createPostgresToolStore } from '../../../src/store/postgres/tool-store.ts'

test('a URL whose parameters would undo our schema and limits is refused, also from a program that reads no environment', async () => {
  const url = 'postgres://holdpoint:hidden@127.0.0.1:1/tools?options=-c%20work_mem%3D8MB'
  const opening = createPostgresToolStore({ url, poolSize: 1, timeoutMs: 100 })
  await expect(opening).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/^(?!.*hidden).*127\.0\.0\.1:1\/tools.*take out options.*ALTER ROLE/),
  })
})
