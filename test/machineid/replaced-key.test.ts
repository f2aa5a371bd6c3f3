// A key that is rotated while a process runs: its stream of stops follows.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'

import { createGuard } from '../../src/guard/guard.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createLogger } from '../../src/log.ts'
import { MachineID } from '../../src/machineid/client.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { ReplicaBody } from '../../src/machineid/wire-stops.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { PAYMENTS, SERVER } from '../fixtures/guard.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'
import { opened, streamTo } from './stop-stream-harness.ts'

const eventually = <T>(look: () => T | Promise<T>) => vi.waitFor(look, { timeout: 8000, interval: 20 })

function keyFile(key: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-rotated-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'key')
  writeFileSync(file, key)
  return file
}

test('this replica leaves under the old key, and comes back under the new one', async () => {
  const clock = new ManualClock()
  const orgKeyFile = keyFile('org_old')
  let beat = () => {}
  const { stream, up, reaches, connections, server } = await streamTo({
    clock,
    key: { orgKeyFile },
    stops: (socket) => {
      socket.write(opened(9))
      beat = () => void socket.write(': \n\n')
    },
  })
  await up()
  writeFileSync(orgKeyFile, 'org_new_one')
  clock.advance(1000)
  beat()
  await reaches(() => connections().length === 2 && stream.state.up)
  expect(connections().map(({ headers }) => headers['x-org-key'])).toEqual(['org_old', 'org_new_one'])
  expect(connections()[1]?.headers['last-event-id']).toBe('9')
  const left = () => server.requests.filter(({ json }) => (json as { leaving?: true } | undefined)?.leaving)
  await reaches(() => left().length === 1)
  expect(left().map(({ headers }) => headers['x-org-key'])).toEqual(['org_old'])
})

/** A started guard with a real control plane, whose key was rotated while its stream was open. */
async function rotated() {
  const authority = await startTestControlPlane({ stopHeartbeatMs: 200 })
  onTestFinished(() => authority.close())
  const { admin, runtime, viewer } = authority.keys
  const orgKeyFile = keyFile(runtime)
  const client = new MachineID({ orgKeyFile, baseUrl: authority.url })
  const guard = createGuard({
    authority: client,
    serverDeviceId: SERVER,
    surfaces: ['payments'],
    journal: createMemoryJournal(),
    log: createLogger({ level: 'silent' }),
    onClose: () => client.close(),
  })
  onTestFinished(async () => void (await guard.close({ graceMs: 0 })))
  await guard.start()
  const replicas = async () => (await authority.get(PATHS.replicas, viewer)).body.replicas as ReplicaBody[]
  await eventually(async () => expect(await replicas()).toMatchObject([{ stream: 'up' }]))
  const oldKeyId = (await replicas())[0]?.keyId
  const { body } = await authority.post(`/api/v1/org/keys/${oldKeyId}/rotate`, { overlapSeconds: 600 }, admin)
  writeFileSync(orgKeyFile, body.key)
  await eventually(async () => expect(await replicas()).toMatchObject([{ keyId: body.keyId, stream: 'up' }]))
  return { authority, guard, oldKeyId }
}

test('there is one replica then, under the new key, and it confirms stops', async () => {
  const { authority } = await rotated()
  const epoch = await authority.revoke(PAYMENTS)
  await eventually(async () => {
    const { body } = await authority.get(`${PATHS.stopHistory}?epoch=${epoch}`, authority.keys.viewer)
    expect(body.stops[0]).toMatchObject({ state: 'confirmed', replicas: [{ state: 'confirmed' }] })
  })
})

test('what the new key has let begin goes on when the old one is burned', async () => {
  const { authority, guard, oldKeyId } = await rotated()
  const begun = Promise.withResolvers<AbortSignal>()
  const end = Promise.withResolvers<void>()
  const ran = guard.run({ surface: guard.surface('payments'), boundary: 'tool' }, ({ signal }) => {
    begun.resolve(signal)
    return end.promise
  })
  const signal = await begun.promise
  const burned = await authority.post(`/api/v1/org/keys/${oldKeyId}/burn`, {}, authority.keys.admin)
  expect(burned.status).toBe(200)
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect([signal.aborted, guard.stopStream?.up]).toEqual([false, true])
  end.resolve()
  expect((await ran).allowed).toBe(true)
})
