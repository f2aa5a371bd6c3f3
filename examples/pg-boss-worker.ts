// A pg-boss worker that pays invoices, stopped in mid-work: nothing is lost, buried or counted; restored, it goes on
// where it stopped. Then it is killed right after a payment: the message comes again, and the payment does not.
//
// While `npm start` runs in another terminal, with any Postgres (each run makes a queue of its own in it):
//   QUEUE_DATABASE_URL=postgres://user:password@127.0.0.1:5432/queues \
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=silent \
//     npx node --conditions=holdpoint-source examples/pg-boss-worker.ts
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { argv, env, execArgv, execPath } from 'node:process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineEffect, MachineID } from 'holdpoint'
import { guardedConsumer, startupGate } from 'holdpoint/gates'
import pg from 'pg'
import { PgBoss, type Job } from 'pg-boss'

interface Invoice {
  readonly invoiceId: string
}

const [, , role = 'show', queue = `invoices-${Date.now()}`, ...lingering] = argv
const connectionString = env.QUEUE_DATABASE_URL
if (!connectionString) {
  console.error(
    'QUEUE_DATABASE_URL is not set. Start a Postgres, and set it: postgres://user:password@host:5432/db',
  )
  process.exit(2)
}
const pool = new pg.Pool({ connectionString })
pool.on('connect', (client) => client.on('error', (error) => console.error(error.message)))
pool.on('error', () => {}) // a connection that broke while nothing used it: the line above has said so
const boss = new PgBoss({ connectionString, schedule: false })
boss.on('error', (error) => console.error(error.message))
await boss.start()
await (role === 'worker' ? work() : show())

/** The worker: what you would deploy. It registers, validates, and only then takes a first message. */
async function work(): Promise<void> {
  await startupGate(
    async (guard) => {
      const payments = guard.surface('payments')
      const pay = defineEffect({
        kind: 'payment',
        name: 'pay_invoice',
        key: ({ invoiceId }: Invoice) => `${queue}:${invoiceId}`,
        // Stands in for a bank, which would be given `idempotencyKey`. This one counts whatever it is asked to do.
        run: async ({ invoiceId }) => {
          await pool.query('INSERT INTO bank (queue, invoice_id) VALUES ($1, $2)', [queue, invoiceId])
          return { paid: invoiceId }
        },
      })
      const consumer = guardedConsumer(payments, {
        name: 'invoices',
        effects: { pay },
        take: () => claim(),
        messageId: ({ job }) => job.id,
        handle: async ({ job }, { effects, signal }) => {
          const { invoiceId } = job.data
          console.log(`at work on ${invoiceId}`)
          await linger(`before-${invoiceId}`, signal)
          const { result, replayed } = await effects.pay(job.data)
          console.log(`${invoiceId} ${replayed ? 'was paid already' : 'is paid'}`)
          await linger(`after-${invoiceId}`, signal)
          return result
        },
        done: ({ job, tx }, result) => end(tx, 'COMMIT', (db) => boss.complete(queue, job, result, { db })),
        giveBack: async ({ job, tx }, why) => {
          await end(tx, 'ROLLBACK')
          console.log(`${job.data.invoiceId} is given back: ${why.state}`)
        },
        // Counted, and tried again or buried as the queue says.
        failed: ({ job, tx }, error) =>
          end(tx, 'COMMIT', (db) => boss.fail(queue, job, { message: String(error) }, { db })),
        // Kept, and delivered no more until a person has looked and says: boss.resume(queue, id).
        unknown: ({ job, tx }) => end(tx, 'COMMIT', (db) => boss.cancel(queue, job, { db })),
        retryMs: 200,
        idleMs: 100,
      })
      console.log(`ready as ${payments.deviceIds.at(-1)}`)
      guard.subscribe((event) => {
        if (event.kind === 'decision' && !event.decision.allowed)
          console.log(`denied: ${event.decision.code}`)
      })
      await consumer.run()
      await boss.stop()
      await pool.end()
    },
    { surfaces: ['payments'] },
  )
}

// pg-boss counts an attempt when it claims a job that was claimed before, also after `cancel` and `resume`, and has no
// public way to undo a claim. So the claim is made in a transaction that stays open while the message is in hand:
// - ROLLBACK gives it back as if it had never been taken: same place, no attempt counted, no start time;
// - a worker that dies is rolled back by Postgres, at once: nothing waits for `expireInSeconds`, nothing is counted;
// - other workers skip the locked row; `expireInSeconds` and heartbeats do not see the claim, so there is no lease to renew.
// The price is a connection for each message in hand, and a transaction as long as its handling: good for minutes, not
// for hours, and `idle_in_transaction_session_timeout` must be longer. pg-boss's own `transactional` workers do the same.
interface Claim {
  readonly job: Job<Invoice>
  readonly tx: pg.PoolClient
}

async function claim(): Promise<Claim | undefined> {
  const tx = await pool.connect()
  let job: Job<Invoice> | undefined
  try {
    await tx.query('BEGIN')
    const [first] = await boss.fetch<Invoice>(queue, { db: within(tx) })
    job = first
  } catch (error) {
    tx.release(true)
    throw error
  }
  if (job !== undefined) return { job, tx }
  await end(tx, 'ROLLBACK')
  return undefined
}

function within(tx: pg.PoolClient) {
  return { executeSql: (text: string, values: unknown[] = []) => tx.query(text, values) }
}

/** Whatever fails, the connection is given up, and Postgres rolls back. */
async function end(
  tx: pg.PoolClient,
  word: 'COMMIT' | 'ROLLBACK',
  settle?: (db: ReturnType<typeof within>) => Promise<unknown>,
): Promise<void> {
  try {
    await settle?.(within(tx))
    await tx.query(word)
    tx.release()
  } catch (error) {
    tx.release(true)
    throw error
  }
}

/** For this program only: gives somebody the time to stop, or kill, the worker just there. */
async function linger(where: string, signal: AbortSignal): Promise<void> {
  const at = lingering.indexOf(where)
  if (at < 0) return
  lingering.splice(at, 1)
  await sleep(60_000, undefined, { signal })
}

/** What shows it: an operator who stops and restores the worker, and somebody who kills it. */
async function show(): Promise<void> {
  await pool.query('CREATE TABLE IF NOT EXISTS bank (queue text NOT NULL, invoice_id text NOT NULL)')
  await boss.createQueue(`${queue}-dead`)
  await boss.createQueue(queue, { retryLimit: 2, deadLetter: `${queue}-dead` })
  for (const invoiceId of ['INV-1', 'INV-2', 'INV-3', 'INV-4']) await boss.send(queue, { invoiceId })
  // The operator's key. In production it never lies on the worker's machine.
  const operatorFile = join(env.DATA_DIR || 'data', 'operator.json')
  const { operator: orgKey } = JSON.parse(readFileSync(operatorFile, 'utf8')) as { operator: string }
  const operator = new MachineID({ baseUrl: env.MACHINEID_BASE_URL ?? '', orgKey })

  const worker = startWorker('before-INV-2', 'after-INV-3')
  const device = (await worker.says('ready as ')).slice('ready as '.length)
  await worker.says('at work on INV-2')
  const stop = await operator.revoke(device, { reason: 'something looks wrong' })
  assert.ok(stop.ok, 'The operator must be able to stop payments.')
  try {
    await worker.says('INV-2 is given back: interrupted')
    for (let times = 1; times <= 3; times++) await worker.says('denied: DEVICE_REVOKED')
    assert.deepEqual(await jobs(), ['INV-1 completed', 'INV-2 created', 'INV-3 created', 'INV-4 created'])
    assert.deepEqual(await paid(), ['INV-1'])
    console.log(`${device} is revoked: INV-2 is back in its place, uncounted, and no other invoice is begun.`)
  } finally {
    const restored = await operator.restore(device, { ifEpoch: stop.value.epoch, reason: 'all is well' })
    assert.ok(restored.ok, 'Who has seen the last stop can undo it.')
    await operator.close()
  }
  await worker.says('INV-2 is paid')
  await worker.says('INV-3 is paid')
  await worker.end('SIGKILL')
  console.log('It is restored, and went on with INV-2. It was killed right after it paid INV-3.')

  const next = startWorker()
  await next.says('INV-3 was paid already')
  await next.says('INV-4 is paid')
  const all = ['INV-1', 'INV-2', 'INV-3', 'INV-4']
  while ((await jobs()).join() !== all.map((invoiceId) => `${invoiceId} completed`).join()) await sleep(50)
  assert.equal(await next.end('SIGTERM'), 0)
  assert.deepEqual(await paid(), all)
  assert.deepEqual(await boss.findJobs(`${queue}-dead`), [])
  console.log('INV-3 came again under the same id: it was not paid again. Each invoice is paid exactly once.')
  await boss.stop()
  await pool.end()
}

/** Every invoice and its state. None has an attempt counted. */
async function jobs(): Promise<string[]> {
  const found = await boss.findJobs<Invoice>(queue)
  for (const { data, retryCount } of found)
    assert.equal(retryCount, 0, `${data.invoiceId} has an attempt counted.`)
  return found.map(({ data, state }) => `${data.invoiceId} ${state}`).toSorted()
}

async function paid(): Promise<string[]> {
  const { rows } = await pool.query<{ invoice_id: string }>(
    'SELECT invoice_id FROM bank WHERE queue = $1 ORDER BY 1',
    [queue],
  )
  return rows.map((row) => row.invoice_id)
}

function startWorker(...lingers: string[]) {
  const child = spawn(execPath, [...execArgv, import.meta.filename, 'worker', queue, ...lingers], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 45_000,
    killSignal: 'SIGKILL',
  })
  const ended = once(child, 'exit')
  process.once('exit', () => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    /** The next line that begins like this. */
    says: async (text: string): Promise<string> => {
      for (let line = await lines.next(); !line.done; line = await lines.next()) {
        console.log(`  worker: ${line.value}`)
        if (line.value.startsWith(text)) return line.value
      }
      return assert.fail(`The worker ended before it said "${text}".`)
    },
    end: async (signal: NodeJS.Signals): Promise<unknown> => {
      child.kill(signal)
      const [status] = await ended
      return status
    },
  }
}
