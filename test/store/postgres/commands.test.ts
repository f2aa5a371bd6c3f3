import { chown, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import { runAudit } from '../../../src/programs/audit.ts'
import { runBackup, type CommandContext } from '../../../src/programs/backup.ts'
import { runRestoreBackup } from '../../../src/programs/restore-backup.ts'
import { enter, ORGS, seed, stateOf } from '../../fixtures/entered-store.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'

describe.skipIf(noPostgres)('commands with DATABASE_URL', () => {
  let server: TestPostgres
  let url: string
  let context: CommandContext
  let said: string[]
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())
  beforeEach(async () => {
    url = await server.createDatabase()
    const dataDir = await mkdtemp(join(tmpdir(), 'holdpoint-commands-'))
    onTestFinished(() => rm(dataDir, { recursive: true }))
    said = []
    const say = (text: string) => void said.push(text)
    context = { dataDir, database: { url, timeoutMs: 2000 }, say, note: say }
    await (await enter(url)).close()
    await seed(server, url)
  })
  const verify = (...args: string[]) => runAudit(['verify', ...args], context, () => context.database)

  test('G6: restore-backup stops everything, hands out new admin keys, and says what to do next', async () => {
    expect(await runRestoreBackup([], context)).toBe(0)
    // An admin key for each org, and those of `npm start` for the first.
    expect(await stateOf(server, url)).toMatchObject({ disabled: [1, 1], live_keys: 6, open_sessions: 0 })
    const file =
      (await readdir(context.dataDir)).find((name) => name.startsWith('restored-admin-keys-')) ?? ''
    const keys = JSON.parse(await readFile(join(context.dataDir, file), 'utf8')) as Record<string, string>
    expect(Object.keys(keys)).toEqual(ORGS)
    expect(said.join('\n')).toMatch(/Generation \d+ has begun[^]*every key has ended[^]*Enable the org/)
    expect(said.join('\n')).not.toContain(keys['org_a'])

    // Its chains go on, and can be verified where they are.
    said.length = 0
    expect(await verify()).toBe(0)
    expect(said).toEqual(ORGS.map((org) => expect.stringMatching(`^${org}: intact, [37] rows`)))
    await server.query(
      url,
      "UPDATE holdpoint_control_plane.audit SET reason = 'another' WHERE org_id = 'org_b' AND seq = 1",
    )
    said.length = 0
    expect(await verify()).toBe(1)
    expect(said).toEqual([
      expect.stringMatching(/^org_a: intact/),
      expect.stringMatching(/^org_b: BROKEN at row 1/),
    ])
  })

  test.skipIf(process.getuid?.() !== 0)(
    "restored by root, all of it belongs to the data folder's owner",
    async () => {
      const SERVICE = 12_345
      await chown(context.dataDir, SERVICE, SERVICE)
      expect(await runRestoreBackup([], context)).toBe(0)
      const names = await readdir(context.dataDir)
      expect(names).toContain('store-seen.json')
      const owners = names.map(async (name) => {
        const { uid, gid } = await stat(join(context.dataDir, name))
        return [name, uid, gid]
      })
      expect(await Promise.all(owners)).toEqual(names.map((name) => [name, SERVICE, SERVICE]))
    },
  )

  test('G6: two restores of one dump, one right after the other, are two generations', async () => {
    const generations: number[] = []
    for (let restores = 0; restores < 3; restores++) {
      // As the dump has it: it knows nothing of the restore before.
      await server.query(url, "UPDATE holdpoint_control_plane.meta SET value = 0 WHERE name = 'generation'")
      expect(await runRestoreBackup(['--keep-keys'], context)).toBe(0)
      generations.push((await stateOf(server, url)).generation)
    }
    const [first = 0] = generations
    expect(generations).toEqual([first, first + 1, first + 2])
  })

  test('a database of another control plane than this DATA_DIR has used is refused, and left as it is', async () => {
    expect(await runRestoreBackup(['--keep-keys'], context)).toBe(0)
    const other = await server.createDatabase()
    await (await enter(other)).close()
    await seed(server, other)
    for (const args of [[], ['--nothing-lost']]) {
      const restoring = runRestoreBackup(args, { ...context, database: { url: other, timeoutMs: 2000 } })
      await expect(restoring).rejects.toMatchObject({ code: 'STORE_OTHER' })
    }
    expect(await stateOf(server, other)).toMatchObject({ generation: 0, disabled: [0, 0], live_keys: 2 })
    const [row] = await server.query(
      other,
      'SELECT restored_at_ms FROM holdpoint_control_plane.store_identity',
    )
    expect(row).toEqual({ restored_at_ms: null })
  })

  test('a database that nobody has used is hardly the one that was restored, and that is said', async () => {
    const empty = await server.createDatabase()
    expect(await runRestoreBackup([], { ...context, database: { url: empty, timeoutMs: 2000 } })).toBe(1)
    expect(said.at(-1)).toMatch(/holds no org/)
    expect((await readdir(context.dataDir)).filter((name) => name.endsWith('.json'))).toEqual([])
  })

  test('a server without TLS is no server that is away', async () => {
    const database = { url: `${url}?sslmode=verify-full`, timeoutMs: 2000 }
    expect(await runAudit(['verify'], context, () => database)).toBe(2)
    expect(said).toEqual([expect.stringMatching(/does not speak TLS.*sslmode=disable/)])
  })

  test('keys are kept when it is said', async () => {
    expect(await runRestoreBackup(['--keep-keys'], context)).toBe(0)
    expect(await stateOf(server, url)).toMatchObject({ disabled: [1, 1], live_keys: 2 })
    expect(said.join('\n')).toMatch(/WORK AGAIN/)
  })

  test('a database that only moved goes on as it was, when it is said', async () => {
    // As after pg_upgrade.
    await server.query(url, "UPDATE holdpoint_control_plane.store_identity SET server = 'before'")
    expect(await runRestoreBackup(['--nothing-lost'], context)).toBe(0)
    await enter(url)
    expect(await stateOf(server, url)).toMatchObject({ generation: 0, disabled: [0, 0], live_keys: 2 })
  })

  test('what makes no sense is a usage error, and changes nothing', async () => {
    for (const args of [['backup.db'], ['--keep-keys', '--nothing-lost'], ['--other']]) {
      expect(await runRestoreBackup(args, context)).toBe(2)
    }
    expect(await runBackup(['file'], context)).toBe(2)
    expect(said.at(-1)).toMatch(/pg_dump[^]*npx holdpoint restore-backup/)
    expect(await stateOf(server, url)).toMatchObject({ generation: 0, disabled: [0, 0], live_keys: 2 })
  })

  test('an audit that is not there says so', async () => {
    const other = await server.createDatabase()
    expect(await runAudit(['verify'], context, () => ({ url: other, timeoutMs: 1000 }))).toBe(2)
    expect(said.join('\n')).toMatch(/AUDIT_MISSING/)
    expect(await runAudit(['verify'], context)).toBe(2)
    expect(said.at(-1)).toMatch(/^Say what to verify/)
  })
})
