import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { expect, describe, onTestFinished, test } from 'vitest'

import type { Journal } from '../../../src/guard/journal.ts'
import type { PostgresTransaction } from '../../../src/store/postgres/lent-transaction.ts'
import { intent } from '../../contract/intent.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

describe.skipIf(noPostgres)('E4: what was sent together with a BEGIN that the server refused', () => {
  const { open, rows, url, server } = toolStores()

  test('is done by itself, so nobody is told that nothing was written, and nobody repeats it', async () => {
    const way = await wayThat(server().port)
    const store = await open({ url: way.through(url()) })
    onTestFinished(() => store.close())
    await rows('CREATE TABLE records (value TEXT NOT NULL)')
    const journal = store.journal as Required<Journal>
    const effect = intent('k', { transactional: true, deadlineMs: 1 })
    const begun = await journal.begin(effect, { leaseMs: 1 })
    if (begun.state !== 'begun') throw new Error(begun.state)

    way.refuseBegin()
    const write = (transaction: unknown) =>
      (transaction as PostgresTransaction).query("INSERT INTO records VALUES ('written')")
    await expect(journal.settleWith(begun.token, write)).rejects.toMatchObject({
      code: 'STORE_OUTCOME_UNKNOWN',
    })
    expect(await rows('SELECT value FROM records')).toEqual([{ value: 'written' }])
    expect(await journal.begin(effect, { leaseMs: 1 })).toEqual({
      state: 'unknown',
      sinceFirstAttemptMs: expect.any(Number),
    })
  })
})

/** To the server, and once with a BEGIN that it does not understand: as a pooler, or a cancellation, that refuses it. */
async function wayThat(port: number) {
  let refusing = false
  const proxy = createServer((inbound) => {
    const outbound = connect(port, '127.0.0.1')
    for (const each of [inbound, outbound]) each.on('error', () => {})
    inbound.on('close', () => outbound.destroy())
    outbound.on('close', () => inbound.destroy())
    outbound.pipe(inbound)
    inbound.on('data', (bytes: Buffer) => {
      const at = refusing ? bytes.indexOf('BEGIN\0') : -1
      if (at >= 0) {
        refusing = false
        bytes.write('BEGXN', at)
      }
      outbound.write(bytes)
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => void proxy.close())
  const own = String((proxy.address() as AddressInfo).port)
  return {
    through: (url: string) => Object.assign(new URL(url), { port: own }).href,
    refuseBegin: () => void (refusing = true),
  }
}
