// A scheduled job (croner). While an operator has stopped its process, a job that comes due does nothing at all; after the
// restore the next one works. The work that a skipped job did not do is done by the next.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/croner-job.ts
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { Cron } from 'croner'
import { MachineID } from 'holdpoint/client'
import { defineEffect, guardedJob, startupGate, type Guard } from 'holdpoint/gates'

const start = Date.now() // new in each run of this program: the journal remembers earlier reports
const due = [start] // the reports that no job has mailed yet
const mailed: number[] = [] // stands in for a mail server
let begun = 0

const mail = defineEffect({
  kind: 'email',
  name: 'mail_report',
  key: (report: number) => String(report),
  run: (report) => void mailed.push(report),
})

// The operator's key. In production it never lies on the worker's machine.
const operatorFile = join(env.DATA_DIR || 'data', 'operator.json')
const { operator: orgKey } = JSON.parse(readFileSync(operatorFile, 'utf8')) as { operator: string }
const operator = new MachineID({ baseUrl: env.MACHINEID_BASE_URL ?? '', orgKey })

await startupGate(main, { surfaces: ['payments', 'email'] })
await operator.close()

async function main(guard: Guard): Promise<void> {
  const email = guard.surface('email')
  const device = email.deviceIds.at(-1) ?? assert.fail()
  const job = guardedJob(email, {
    name: 'mail_reports',
    effects: { mail },
    onDenied: 'skip', // the default would end this process with status 1
    run: async ({ effects }) => {
      begun += 1
      for (let report = due[0]; report !== undefined; report = due[0]) {
        await effects.mail(report)
        due.shift() // only now: a job that is denied or dies before leaves it to the next
      }
    },
  })
  // Nightly at three. `catch` is told what a job throws, `protect` starts no second one beside one that runs. A worker that
  // does nothing else ends its main with: await life.untilShutdown()
  const options = { protect: true, catch: (error: unknown) => assert.fail(String(error)) }
  const nightly = new Cron('0 3 * * *', options, async () => void (await job()))

  await nightly.trigger() // as if it were three
  assert.deepEqual([begun, mailed], [1, [start]])

  const revoked = await operator.revoke(device, { reason: 'something looks wrong' })
  assert.ok(revoked.ok, 'The operator must be able to stop mail.')
  try {
    due.push(start + 1)
    await nightly.trigger()
    assert.deepEqual([begun, mailed, due], [1, [start], [start + 1]])
    console.log(`${device} is revoked: the job came due and did nothing at all.`)
  } finally {
    const { epoch: ifEpoch } = revoked.value
    const restored = await operator.restore(device, { ifEpoch, reason: 'all is well' })
    assert.ok(restored.ok, 'The operator must be able to restore mail.')
  }
  due.push(start + 2)
  await nightly.trigger()
  assert.deepEqual([begun, mailed, due], [2, [start, start + 1, start + 2], []])
  console.log('It is restored: the next job has mailed the other two reports. Each was mailed once.')
  nightly.stop()
}
