// npm run proof:crash [-- --json --rounds=50 --stop-rounds=20 --point=effect.performed]. FAULT_SEED repeats a run.
// With --postgres the store is a Postgres, where whoever takes over is another replica.
import { parseArgs } from 'node:util'

import { CRASH_POINTS } from '../../src/guard/crash-points.ts'
import { startPostgres } from '../fixtures/postgres.ts'
import { seedFrom } from '../fixtures/random.ts'
import { createBookedDatabase, proveCrashes, type ProofResult } from './crash-proof.ts'
import { reportOf, totalOf } from './crash-report.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '50' },
    'stop-rounds': { type: 'string', default: '20' },
    point: { type: 'string', multiple: true },
    postgres: { type: 'boolean', default: false },
  },
})
const seed = seedFrom('FAULT_SEED')
const points = CRASH_POINTS.filter((point) => values.point?.includes(point) ?? true)
const postgres = values.postgres ? await startPostgres() : undefined
const say = (text: string) => process.stderr.write(text)

async function prove(rounds: number, stops: boolean): Promise<{ result: ProofResult; seconds: number }> {
  const startedAt = performance.now()
  const result = await proveCrashes({
    points,
    rounds,
    seed,
    stops,
    ...(postgres === undefined ? {} : { createDatabase: () => createBookedDatabase(postgres) }),
    onRound: (done, of, problems) => {
      if (problems.length > 0) say(`\n${problems.join('\n')}\n`)
      if (done % 10 === 0 || done === of) say(`\r${done} of ${of} rounds`)
    },
  })
  say('\n')
  return { result, seconds: Math.round((performance.now() - startedAt) / 1000) }
}

say(`FAULT_SEED=${seed} repeats it. Killed at ${points.length} points:\n`)
const killed = await prove(Number(values.rounds), false)
say('Stopped there, and going on when another process has taken over:\n')
const stopped = await prove(Number(values['stop-rounds']), true)
const problems = [...totalOf(killed.result).problems, ...totalOf(stopped.result).problems]

await postgres?.close()

if (values.json) {
  const shown = ({ result, seconds }: typeof killed) => ({ seconds, points: Object.fromEntries(result) })
  const report = { seed, killed: shown(killed), stopped: shown(stopped) }
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`)
} else {
  for (const [title, { result, seconds }] of Object.entries({ Killed: killed, Stopped: stopped })) {
    if (totalOf(result).runs > 0) process.stdout.write(`${title}, ${seconds} s\n${reportOf(result)}\n\n`)
  }
  process.stdout.write(problems.length === 0 ? 'Proved.\n' : `${problems.length} problems.\n`)
}
if (problems.length > 0) process.exitCode = 1
