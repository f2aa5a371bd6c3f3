// A plain worker: a `for await` source, one payment for each order. An operator stops payments in mid-work: the next order
// does not start. After the restore the loop goes on where it stopped: no order is lost, none is paid twice.
//
// While `npm start` runs in another terminal:
//   MACHINEID_BASE_URL=http://127.0.0.1:4100 MACHINEID_ORG_KEY_FILE=data/tool-server.json LOG_LEVEL=warn \
//     npx node --conditions=holdpoint-source examples/plain-loop.ts
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { MachineID } from 'holdpoint/client'
import { defineEffect, guardedLoop, startupGate, type Guard } from 'holdpoint/gates'

const first = Date.now() // new in each run of this program: the journal remembers earlier orders

/** Any source will do that can be read with `for await`: a stream, a cursor, a subscription. */
async function* orders() {
  for (let order = first; order < first + 6; order += 1) {
    await sleep(10)
    yield order
  }
}

const paid: number[] = [] // stands in for a bank
const charge = defineEffect({
  kind: 'payment',
  name: 'charge_order',
  key: (order: number) => String(order),
  run: (order) => ({ receipt: paid.push(order) }),
})

// The operator's key. In production it never lies on the worker's machine.
const operatorFile = join(env.DATA_DIR || 'data', 'operator.json')
const { operator: orgKey } = JSON.parse(readFileSync(operatorFile, 'utf8')) as { operator: string }
const operator = new MachineID({ baseUrl: env.MACHINEID_BASE_URL ?? '', orgKey })

await startupGate(main, { surfaces: ['payments', 'email'] })
await operator.close()

async function main(guard: Guard): Promise<void> {
  const payments = guard.surface('payments')
  const device = payments.deviceIds.at(-1) ?? assert.fail()
  const started: number[] = []
  let epoch: number | undefined

  const loop = guardedLoop(payments, {
    name: 'pay_orders',
    effects: { charge },
    units: orders(),
    onDenied: 'wait', // the default would end this process with status 1
    retryMs: 50,
    work: async (order, { effects }) => {
      started.push(order)
      await effects.charge(order)
      if (started.length === 3) {
        const revoked = await operator.revoke(device, { reason: 'something looks wrong' })
        assert.ok(revoked.ok, 'The operator must be able to stop payments.')
        epoch = revoked.value.epoch
      }
    },
  })

  const denied = new Promise<void>((resolve) => {
    let denials = 0
    guard.subscribe((event) => {
      if (event.kind !== 'decision' || event.decision.allowed) return
      assert.equal(event.decision.code, 'DEVICE_REVOKED')
      if ((denials += 1) === 3) resolve()
    })
  })
  const running = loop.run()
  try {
    await Promise.race([denied, running.then(() => assert.fail('The loop must be stopped.'))])
    assert.deepEqual(started, [first, first + 1, first + 2])
    console.log(`${device} is revoked after 3 orders. Asked 3 times since, the fourth has not started.`)
  } finally {
    const restored = await operator.restore(device, {
      ifEpoch: epoch ?? assert.fail(),
      reason: 'all is well',
    })
    assert.ok(restored.ok, 'The operator must be able to restore payments.')
  }
  const end = await running
  assert.deepEqual([end.ended, end.done, end.kept], ['finished', 6, []])
  assert.deepEqual(
    paid,
    Array.from({ length: 6 }, (_, index) => first + index),
  )
  console.log('It is restored: the loop went on. 6 orders, each paid once.')
}
