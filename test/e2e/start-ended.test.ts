import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'

import { processesWith, runMain, temporaryDirectory } from '../fixtures/program.ts'

/** A tool server that waits: nobody listens where it asks. */
const WAITING = {
  MACHINEID_BASE_URL: 'http://127.0.0.1:9',
  MACHINEID_ORG_KEY: `org_${'a'.repeat(32)}`,
  TOOL_SERVER_PORT: '0',
  ON_STARTUP_DENIED: 'wait',
}
const ASKS_AGAIN = 'startup denied, asking again'
const onLinux = existsSync('/proc/self/environ')
if (!onLinux)
  console.warn('skipped: what a program leaves behind is looked up in /proc, which is not on this machine')

// Status 0 shows that the program has handled the signal: from the first process of a container the kernel keeps one that
// it does not handle, and elsewhere it ends without a status.
describe('told to end while it is starting', { timeout: 30_000 }, () => {
  test('a control plane whose database does not answer ends at once, with status 0', async () => {
    await using dir = await temporaryDirectory()
    const database = createServer().listen(0, '127.0.0.1')
    await once(database, 'listening')
    const { port } = database.address() as AddressInfo
    const asked = once(database, 'connection')
    const program = runMain(['control-plane'], {
      DATA_DIR: dir.path,
      CONTROL_PLANE_PORT: '0',
      OPERATOR_PORT: '0',
      DATABASE_URL: `postgres://holdpoint:holdpoint@127.0.0.1:${port}/holdpoint?sslmode=disable`,
      DATABASE_TIMEOUT_MS: '30000',
      PLATFORM_TOKEN: 'a'.repeat(64),
    })
    await Promise.race([asked, program.ended])
    program.process.kill('SIGTERM')
    expect(await program.ended).toBe(0)
    database.close()
  })

  test('a tool server that waits for its restore ends at once, with status 0', async () => {
    await using dir = await temporaryDirectory()
    const program = runMain(['tool-server'], { ...WAITING, DATA_DIR: dir.path })
    await program.printed(ASKS_AGAIN)
    program.process.kill('SIGTERM')
    expect(await program.ended).toBe(0)
    expect(program.output()).toContain('ended while it was starting')
  })

  test.skipIf(!onLinux)('holdpoint start ends what it waits for, with status 0', async () => {
    await using dir = await temporaryDirectory()
    const program = runMain(['start'], { ...WAITING, DATA_DIR: dir.path })
    await program.printed(ASKS_AGAIN)
    program.process.kill('SIGINT')
    expect(await program.ended).toBe(0)
    expect(processesWith(dir.path)).toEqual([])
  })

  test.skipIf(!onLinux)('a tool server that waits ends with a supervisor that was killed', async () => {
    await using dir = await temporaryDirectory()
    const program = runMain(['start'], { ...WAITING, DATA_DIR: dir.path })
    await program.printed(ASKS_AGAIN)
    program.process.kill('SIGKILL')
    expect(await program.ended).toBe(null)
    await expect.poll(() => processesWith(dir.path), { timeout: 10_000 }).toEqual([])
  })
})
