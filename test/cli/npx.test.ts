import { expect, test } from 'vitest'

import { startTestLanes } from '../fixtures/control-plane.ts'
import { run } from './run.ts'

const DEVICE = 'openai-agent:test:payments:01'
const npx = { npm_command: 'exec' }

test('whoever came by npx is told commands that work with it; JSON says the same as ever', async () => {
  await using authority = await startTestLanes()
  await authority.register(DEVICE)
  const revoke = ['devices', 'revoke', DEVICE]
  expect((await run(revoke, { authority })).stdout).toContain(`Undo: holdpoint devices restore ${DEVICE}`)
  expect((await run(revoke, { authority, env: npx })).stdout).toContain(
    `Undo: npx holdpoint devices restore ${DEVICE}`,
  )
  const panic = await run(['panic', '--yes', '--json', '--wait', '0'], { authority, env: npx })
  expect(panic.json()).toMatchObject({ restore: 'holdpoint org enable' })
  const coloured = await run(['panic', '--yes', '--wait', '0'], { authority, env: npx, terminal: 100 })
  expect(coloured.stdout).toContain('\u001B[1mnpx holdpoint org enable')
  const missing = await run(['lock', 'release', 'none', '--yes'], { authority, env: npx })
  expect(missing.stderr).toContain('See: npx holdpoint lock ls')
})
