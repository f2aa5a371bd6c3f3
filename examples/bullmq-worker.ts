// A BullMQ worker that pays invoices, stopped in mid-work: nothing is lost, failed or counted; restored, it goes on where
// it stopped. Then it is killed right after a payment: the job comes again, and the payment does not.
//
// While `npm start` and `redis-server` run in other terminals (each run makes a queue of its own):
//   REDIS_URL=redis://127.0.0.1:6379 \
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=silent \
//     npx node --conditions=holdpoint-source examples/bullmq-worker.ts
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { argv, env, execArgv, execPath } from 'node:process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, UnrecoverableError, Worker, type Job } from 'bullmq'
import { defineEffect, MachineID } from 'holdpoint'
import { guardedConsumer, startupGate } from 'holdpoint/gates'

interface Invoice {
  readonly invoiceId: string
}

const [, , role = 'show', queueName = `invoices-${Date.now()}`, ...lingering] = argv
const url = env.REDIS_URL
if (!url) {
  console.error('REDIS_URL is not set. Start a redis-server, and set it: redis://127.0.0.1:6379')
  process.exit(2)
}
const connection = { url }
const LOCK_MS = 3000
const bank = join(tmpdir(), `${queueName}.bank`) // stands in for a bank: a line for each payment
await (role === 'worker' ? work() : show())

/** The worker: what you would deploy. It registers, validates, and only then takes a first job. */
async function work(): Promise<void> {
  await startupGate(
    async (guard) => {
      const payments = guard.surface('payments')
      const pay = defineEffect({
        kind: 'payment',
        name: 'pay_invoice',
        key: 'each-call', // once for each job, however often it is delivered: its id is the key
        run: ({ invoiceId }: Invoice) => {
          appendFileSync(bank, `${invoiceId}\n`)
          return { paid: invoiceId }
        },
      })
      // Without a processor: jobs are taken by hand. Production wants longer times; the defaults are 30 seconds each.
      const worker = new Worker<Invoice>(queueName, undefined, {
        connection,
        lockDuration: LOCK_MS,
        stalledInterval: 1000,
      })
      worker.on('error', (error) => console.error(error.message))
      // Puts back what a worker that died had in hand.
      await worker.startStalledCheckTimer()
      const consumer = guardedConsumer(payments, {
        name: queueName,
        effects: { pay },
        take: () => take(worker),
        messageId: ({ job }) => job.id ?? '',
        handle: async ({ job }, { effects, signal }) => {
          const { invoiceId } = job.data
          // It was in the hands of too many workers that died: BullMQ leaves it to whoever takes it to fail it.
          if (job.deferredFailure) throw new UnrecoverableError(job.deferredFailure)
          console.log(`at work on ${invoiceId}`)
          await linger(`before-${invoiceId}`, signal)
          const { result, replayed } = await effects.pay(job.data)
          console.log(`${invoiceId} ${replayed ? 'was paid already' : 'is paid'}`)
          await linger(`after-${invoiceId}`, signal)
          return result
        },
        done: (held, result) => settle(held, ({ job, token }) => job.moveToCompleted(result, token, false)),
        giveBack: async (held, why) => {
          await settle(held, ({ job, token }) => job.moveToWait(token))
          console.log(`${held.job.data.invoiceId} is given back: ${why.state}`)
        },
        // Counted, and tried again as `attempts` and `backoff` of the job say.
        failed: (held, error) =>
          settle(held, ({ job, token }) =>
            job.moveToFailed(error instanceof Error ? error : new Error(String(error)), token, false),
          ),
        // Kept among the failed, and not tried again until a person has looked and says: job.retry().
        unknown: (held, { refusal }) =>
          settle(held, ({ job, token }) =>
            job.moveToFailed(new UnrecoverableError(refusal.message), token, false),
          ),
        retryMs: 200,
        idleMs: 100,
      })
      console.log(`ready as ${payments.deviceIds.at(-1)}`)
      guard.subscribe((event) => {
        if (event.kind === 'decision' && !event.decision.allowed)
          console.log(`denied: ${event.decision.code}`)
      })
      await consumer.run()
      await worker.close()
    },
    { surfaces: ['payments'] },
  )
}

// What is counted: `moveToWait` puts a job back at the head of the queue and leaves `attemptsMade`, which `attempts` limits,
// as it is. Only `attemptsStarted` grows with each take, and nothing limits that unless `maxStartedAttempts` is set: leave
// it out. While permission is denied nothing is in hand, so no lock runs out. A job that is taken by hand is not renewed by
// BullMQ: its lock is renewed here, or the stalled check would give it to somebody else. After a kill the lock runs out,
// and the check puts the job back, counted in `stalledCounter` (limit: `maxStalledCount`), not in `attemptsMade`.
interface Held {
  readonly job: Job<Invoice>
  readonly token: string
  readonly renewal: NodeJS.Timeout
}

async function take(worker: Worker<Invoice>): Promise<Held | undefined> {
  const token = crypto.randomUUID()
  // It does not wait for a job, since such a wait could not be aborted: the consumer asks again every `idleMs`.
  const job = await worker.getNextJob(token, { block: false })
  if (!job) return undefined
  const renew = () => job.extendLock(token, LOCK_MS).catch((error: Error) => console.error(error.message))
  return { job, token, renewal: setInterval(() => void renew(), LOCK_MS / 3) }
}

async function settle(held: Held, act: (held: Held) => Promise<unknown>): Promise<void> {
  clearInterval(held.renewal)
  await act(held)
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
  const queue = new Queue<Invoice>(queueName, { connection })
  const all = ['INV-1', 'INV-2', 'INV-3', 'INV-4']
  for (const invoiceId of all) await queue.add('pay', { invoiceId }, { attempts: 3 })
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
    // A completed job counts the attempt that completed it.
    assert.deepEqual(await jobs(queue), [
      'INV-1 completed attempts=1 stalled=0',
      'INV-2 waiting attempts=0 stalled=0',
      'INV-3 waiting attempts=0 stalled=0',
      'INV-4 waiting attempts=0 stalled=0',
    ])
    assert.deepEqual(paid(), ['INV-1'])
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
  while ((await queue.getCompletedCount()) < all.length) await sleep(50)
  assert.equal(await next.end('SIGTERM'), 0)
  assert.deepEqual(await jobs(queue), [
    'INV-1 completed attempts=1 stalled=0',
    'INV-2 completed attempts=1 stalled=0',
    'INV-3 completed attempts=1 stalled=1',
    'INV-4 completed attempts=1 stalled=0',
  ])
  assert.deepEqual(paid().toSorted(), all)
  console.log('INV-3 came again under the same id: it was not paid again. Each invoice is paid exactly once.')
  await queue.obliterate({ force: true })
  await queue.close()
  rmSync(bank)
}

async function jobs(queue: Queue<Invoice>): Promise<string[]> {
  const found = await queue.getJobs(['waiting', 'active', 'delayed', 'completed', 'failed'])
  const lines = found.map(async (job) => {
    const { data, attemptsMade, stalledCounter } = job
    return `${data.invoiceId} ${await job.getState()} attempts=${attemptsMade} stalled=${stalledCounter}`
  })
  return (await Promise.all(lines)).toSorted()
}

function paid(): string[] {
  return readFileSync(bank, 'utf8').trim().split('\n')
}

function startWorker(...lingers: string[]) {
  const child = spawn(execPath, [...execArgv, import.meta.filename, 'worker', queueName, ...lingers], {
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
