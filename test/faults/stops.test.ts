import { expect, test } from 'vitest'

import { proveControlPlaneKilled, proveReplicasDie } from './stops-deaths.ts'
import { proveIdle, tooFewFiles } from './stops-idle.ts'

// The short form of what `npm run bench:stops` does with 10,000 streams and 200 replicas. They say themselves what they
// expect, and give back what was not so.
const STREAMS = 1000
const REPLICAS = 24
const say = (text: string) => console.log(text)

const tooFew = tooFewFiles(STREAMS)
if (tooFew !== undefined) console.log(`Skipped: ${tooFew}`)

test.skipIf(tooFew !== undefined)(
  'idle streams cost little, a slow reader is hung up on, the others are told, and questions are answered',
  async () => {
    const { problems } = await proveIdle({ streams: STREAMS, say })
    expect(problems).toEqual([])
  },
  180_000,
)

test('G1: a process that is killed or stands still leaves the others stopped, and its stop unconfirmed', async () => {
  const { problems } = await proveReplicasDie({ replicas: REPLICAS, say })
  expect(problems).toEqual([])
}, 120_000)

test('G1, G5: after kill -9 of the control plane its replicas come back apart, and nothing that was stopped goes on', async () => {
  const { problems } = await proveControlPlaneKilled({ replicas: REPLICAS, say })
  expect(problems).toEqual([])
}, 180_000)
