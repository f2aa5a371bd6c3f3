import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { readCallers } from '../../src/tool-server/callers.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { cells, run as runIt, type RunOptions } from './run.ts'

let authority: TestControlPlane
let dir: string
beforeAll(async () => {
  authority = await startTestLanes()
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-cli-'))
})
afterAll(async () => {
  await authority.close()
  rmSync(dir, { recursive: true })
})

const run = (args: readonly string[], options: RunOptions = {}) => runIt(args, { authority, ...options })
const works = async (key: string) => (await authority.get('/api/v1/usage', key)).status === 200

describe('keys', () => {
  test('create prints a new one once, alone on standard output, with a warning beside it', async () => {
    const { status, stdout, stderr } = await run(['keys', 'create', '--kind', 'viewer', '--name', 'board'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^org_viewer_\S+\n$/)
    expect(await works(stdout.trim())).toBe(true)
    expect(stderr).toContain('the only time that it is shown')
    expect(stderr).not.toContain(stdout.trim())
  })

  test('--out writes it to a file that only its owner can read, and nowhere else', async () => {
    const out = join(dir, 'viewer.key')
    const ran = await run(['keys', 'create', '--kind', 'viewer', '--out', out, '--json'])
    const key = readFileSync(out, 'utf8').trim()
    expect(statSync(out).mode & 0o777).toBe(0o600)
    expect(await works(key)).toBe(true)
    expect(ran.json()).toMatchObject({ kind: 'viewer', file: out })
    expect(ran.stdout + ran.stderr).not.toContain(key)
  })

  test('--out never writes over a file, and makes no key then', async () => {
    const out = join(dir, 'there.key')
    writeFileSync(out, 'precious')
    const before = (await run(['keys', 'ls', '--json'])).json().keys.length
    const { status, stderr } = await run(['keys', 'create', '--kind', 'viewer', '--out', out])
    expect(status).toBe(2)
    expect(stderr).toContain('it is there already')
    expect(readFileSync(out, 'utf8')).toBe('precious')
    expect((await run(['keys', 'ls', '--json'])).json().keys).toHaveLength(before)
  })

  test('a refused create leaves no file', async () => {
    const out = join(dir, 'refused.key')
    const args = ['keys', 'create', '--kind', 'viewer', '--out', out]
    expect((await run(args, { key: authority.keys.operator })).status).toBe(3)
    expect(existsSync(out)).toBe(false)
  })

  test('a runtime key is bound, and says so when it is not', async () => {
    const bound = await run([
      'keys',
      'create',
      '--kind',
      'runtime',
      '--bind',
      'a:b:*',
      '--bind',
      'c:d:e:1',
      '--json',
    ])
    const listed = (await run(['keys', 'ls', '--json'])).json().keys
    const { keyId } = bound.json()
    expect(listed.find((key: { keyId: string }) => key.keyId === keyId)).toMatchObject({
      bindings: ['a:b:*', 'c:d:e:1'],
    })
    const unbound = await run(['keys', 'create', '--kind', 'runtime'])
    expect(unbound.status).toBe(2)
    expect(unbound.stderr).toContain('Give "bindings" with kind "runtime"')
  })

  test('ls shows no secret, and the ended ones only with --all', async () => {
    const made = (await run(['keys', 'create', '--kind', 'viewer', '--json'])).json()
    await run(['keys', 'burn', made.keyId, '--yes'])
    const ls = await run(['keys', 'ls'])
    expect(cells(ls.stdout)[0]).toEqual(['KEY', 'KIND', 'NAME', 'STATE', 'LAST USED', 'CREATED', 'BOUND TO'])
    expect(ls.stdout).not.toContain(made.keyId)
    for (const key of Object.values(authority.keys)) expect(ls.stdout).not.toContain(key)
    expect((await run(['keys', 'ls', '--all'])).stdout).toMatch(
      new RegExp(`${made.keyId}\tviewer\t-\tburned \\d{4}-`),
    )
  })

  test('rotate: both work for the overlap; with 0s the old one is dead at once, after a yes', async () => {
    const old = (await run(['keys', 'create', '--kind', 'viewer', '--json'])).json()
    const rotated = await run(['keys', 'rotate', old.keyId, '--overlap', '1h'])
    expect(rotated.stderr).toMatch(/works until \d{4}-[^ ]*Z\.$/m)
    expect(await works(old.key)).toBe(true)
    expect(await works(rotated.stdout.trim())).toBe(true)
    const second = (await run(['keys', 'create', '--kind', 'viewer', '--json'])).json()
    expect((await run(['keys', 'rotate', second.keyId, '--overlap', '0s'])).status).toBe(2)
    expect(await works(second.key)).toBe(true)
    const now = await run(['keys', 'rotate', second.keyId, '--overlap', '0s', '--yes', '--json'])
    expect(await works(second.key)).toBe(false)
    expect(await works(now.json().key)).toBe(true)
  })

  test('burn asks, and can be looked at first', async () => {
    const made = (await run(['keys', 'create', '--kind', 'runtime', '--bind', '*', '--json'])).json()
    const dry = await run(['keys', 'burn', made.keyId, '--dry-run'])
    expect(dry.stdout).toContain('Nothing was changed.')
    expect((await run(['keys', 'burn', made.keyId])).status).toBe(2)
    const burned = await run(['keys', 'burn', made.keyId, '--reason', 'leaked'], { answer: 'y' })
    expect(burned.stdout).toMatch(/^Burned \w+ at epoch \d+\. It never works again\./)
    const gone = await run(['keys', 'burn', 'nobody', '--yes'])
    expect(gone).toMatchObject({ status: 1, stderr: expect.stringContaining('KEY_NOT_FOUND') })
  })

  test('the only admin key of an org without an owner is not burned by mistake, and can be all the same', async () => {
    await using lonely = await startTestLanes()
    const own = (args: readonly string[]) => runIt(args, { authority: lonely, key: lonely.keys.admin })
    const rows: { keyId: string; kind: string; state: string }[] = (
      await own(['keys', 'ls', '--json'])
    ).json().keys
    const { keyId } = rows.find(({ kind }) => kind === 'admin')!
    for (const { keyId: full } of rows.filter(({ kind }) => kind === 'full'))
      expect((await own(['keys', 'burn', full, '--yes'])).status).toBe(0)

    const dry = await own(['keys', 'burn', keyId, '--dry-run'])
    expect(dry).toMatchObject({ status: 0, stderr: expect.stringContaining('LAST_ADMIN_KEY') })
    const refused = await own(['keys', 'burn', keyId, '--yes', '--reason', 'leaked'])
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('locks everybody out for good'),
    })
    expect(refused.stderr).toContain(`holdpoint keys rotate ${keyId} --overlap 0s`)
    expect(refused.stderr).toContain('--last-admin')

    const second = (await own(['keys', 'create', '--kind', 'admin', '--json'])).json()
    expect((await own(['keys', 'burn', second.keyId, '--yes'])).status).toBe(0)
    await own(['org', 'owners', '--add', 'ann@example.com'])
    expect((await own(['keys', 'burn', keyId, '--dry-run'])).stderr).not.toContain('LAST_ADMIN_KEY')

    await using alone = await startTestLanes()
    const its = (args: readonly string[]) => runIt(args, { authority: alone, key: alone.keys.admin })
    const all: typeof rows = (await its(['keys', 'ls', '--json'])).json().keys
    for (const { keyId: full } of all.filter(({ kind }) => kind === 'full'))
      await its(['keys', 'burn', full, '--yes'])
    const last = all.find(({ kind }) => kind === 'admin')!.keyId
    expect(await its(['keys', 'burn', last, '--yes', '--last-admin'])).toMatchObject({ status: 0 })
    expect(await its(['keys', 'ls'])).toMatchObject({ status: 3 })
  })

  test('a key in a reason is blotted out before it is sent', async () => {
    const made = (await run(['keys', 'create', '--kind', 'viewer', '--json'])).json()
    await run(['keys', 'burn', made.keyId, '--yes', '--reason', `found ${made.key} in a log`])
    const { body } = await authority.get('/api/v1/audit?limit=1000', authority.keys.viewer)
    expect(body.rows.at(-1).reason).toBe('found org_[redacted] in a log')
  })

  test.each([
    [['keys', 'create'], "required option '--kind <kind>' not specified"],
    [['keys', 'create', '--kind', 'god'], 'Allowed choices are runtime'],
    [['keys', 'rotate', 'x', '--overlap', 'long'], '--overlap takes a time'],
    [['keys', 'burn'], "missing required argument 'key'"],
  ])('%j is a usage error', async (args, message) => {
    const { status, stderr } = await run(args)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe('callers', () => {
  const create = (file: string, ...more: string[]) =>
    run(['callers', 'create', 'billing', '--scope', 'tools:call', '--file', file, ...more])

  test('create adds one to the file, mode 0600; the tool server knows the token that is shown once', async () => {
    const file = join(dir, 'callers.json')
    const { status, stdout, stderr } = await create(file)
    expect(status).toBe(0)
    expect(stdout).toMatch(/^hpc_\S+\n$/)
    expect(stderr).toContain('the only time that the token is shown')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).not.toContain(stdout.trim())
    expect(readCallers(file).find(stdout.trim())).toMatchObject({ name: 'billing', scopes: ['tools:call'] })
  })

  test('ls, and rm: a token that was taken out is refused by a server that runs', async () => {
    const file = join(dir, 'callers-rm.json')
    const made = (await create(file, '--json')).json()
    const server = readCallers(file)
    expect(server.find(made.token)?.id).toBe(made.id)
    const ls = await run(['callers', 'ls'], { env: { CALLER_TOKENS_FILE: file } })
    expect(cells(ls.stdout)).toEqual([
      ['CALLER', 'NAME', 'SCOPES'],
      [made.id, 'billing', 'tools:call'],
    ])
    expect((await run(['callers', 'rm', made.id, '--file', file])).status).toBe(0)
    expect(server.find(made.token)).toBeUndefined()
    expect((await run(['callers', 'rm', made.id, '--file', file])).stderr).toContain('CALLER_NOT_FOUND')
  })

  test('ls of a file that is not there is an error, and not an empty list', async () => {
    const { status, stderr } = await run(['callers', 'ls', '--file', join(dir, 'nowhere.json')])
    expect(status).toBe(1)
    expect(stderr).toContain('CALLERS_UNREADABLE')
  })

  test('--id replaces the token and keeps who it is', async () => {
    const file = join(dir, 'callers-id.json')
    const first = (await create(file, '--json')).json()
    const second = (await create(file, '--id', first.id, '--json')).json()
    expect(second.id).toBe(first.id)
    expect(readCallers(file).find(first.token)).toBeUndefined()
    expect(readCallers(file).find(second.token)?.id).toBe(first.id)
    expect((await create(file, '--id', 'caller_x')).stderr).toContain('CALLER_NOT_FOUND')
  })

  test('mode and symbolic link stay as they were, so that the tool server can read it on', async () => {
    const file = join(dir, 'real.json')
    const link = join(dir, 'link.json')
    writeFileSync(file, '{"callers":[]}')
    // Group-writable, which most umasks take away from new files.
    chmodSync(file, 0o660)
    const group = process.getgroups?.().find((one) => one !== process.getgid?.()) ?? process.getgid?.() ?? 0
    const asRoot = process.getuid?.() === 0
    chownSync(file, process.getuid?.() ?? 0, asRoot ? 12_345 : group)
    symlinkSync(file, link)
    await create(link)
    expect(statSync(file).mode & 0o777).toBe(0o660)
    expect(statSync(file).gid).toBe(asRoot ? 12_345 : group)
    expect(JSON.parse(readFileSync(file, 'utf8')).callers).toHaveLength(1)
    expect(existsSync(`${file}.draft`)).toBe(false)
  })

  test('whole or not at all: what the tool server would refuse never gets there', async () => {
    const file = join(dir, 'whole.json')
    await create(file)
    const before = readFileSync(file, 'utf8')
    const both = await run(['callers', 'create', 'x', '--scope', 'runs:approve,tools:call', '--file', file])
    expect(both.status).toBe(1)
    expect(both.stderr).toContain('runs:approve goes with runs:resume only')
    expect(readFileSync(file, 'utf8')).toBe(before)
    expect(existsSync(`${file}.draft`)).toBe(false)
    writeFileSync(file, '{"callers": [')
    expect((await create(file)).stderr).toContain('CALLERS_UNREADABLE')
    expect(readFileSync(file, 'utf8')).toBe('{"callers": [')
  })

  test('one at a time', async () => {
    const file = join(dir, 'busy.json')
    writeFileSync(`${file}.draft`, '')
    const out = join(dir, 'busy.token')
    const { status, stderr } = await create(file, '--out', out)
    expect(status).toBe(1)
    expect(stderr).toContain('somebody else edits it now')
    expect(existsSync(out)).toBe(false)
    expect(existsSync(`${file}.draft`)).toBe(true)
  })

  test.each([
    [['callers', 'ls'], 'Say which file'],
    [['callers', 'create', 'x', '--file', '/nonexistent/callers.json'], 'Say what it may do'],
    [['callers', 'create', 'x', '--scope', 'everything', '--file', 'x'], '"everything" is not a scope'],
  ])('%j is a usage error', async (args, message) => {
    const { status, stderr } = await run(args)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe('audit export', () => {
  test('the whole chain, which audit verify takes; never over a file', async () => {
    const file = join(dir, 'audit.jsonl')
    const { status, stdout } = await run(['audit', 'export', file])
    expect(status).toBe(0)
    const rows = readFileSync(file, 'utf8').trimEnd().split('\n')
    expect(stdout).toContain(`Exported ${rows.length} rows to ${file}.`)
    const { body } = await authority.get('/api/v1/audit?limit=1000', authority.keys.viewer)
    expect(rows.map((row) => JSON.parse(row))).toEqual(body.rows)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect((await run(['audit', 'export', file])).status).toBe(2)
    expect(readFileSync(file, 'utf8').trimEnd().split('\n')).toEqual(rows)
  })

  test('--csv is for a spreadsheet', async () => {
    const file = join(dir, 'audit.csv')
    const { status, stdout } = await run(['audit', 'export', file, '--csv'])
    expect({ status, stdout }).toEqual({ status: 0, stdout: `Exported the audit to ${file}.\n` })
    expect(readFileSync(file, 'utf8')).toMatch(/^orgId,seq,id,at,.*\r\no_\w+,1,/)
  })

  test('a refused one leaves no file', async () => {
    const file = join(dir, 'refused.jsonl')
    expect((await run(['audit', 'export', file], { key: authority.keys.stop })).status).toBe(3)
    expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, false])
  })
})
