// A process of its own for write-record.test.ts: writes some records, and kills itself in the last write.
import { systemClock } from '../../src/clock.ts'
import type { CrashPoint } from '../../src/guard/crash-points.ts'
import { guardedToolCore } from '../../src/agents/guarded-tool.ts'
import { createGuard } from '../../src/guard/guard.ts'
import { createLogger } from '../../src/log.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { createRecords } from '../../tools/records.ts'
import { writeRecord } from '../../tools/write-record.ts'
import { SERVER } from '../fixtures/guard.ts'
import { ScriptedAuthority } from '../fixtures/scripted-authority.ts'

const [file = '', writes = '0', dieAt = '', size = '0'] = process.argv.slice(2)
const last = Number(writes) - 1
let current = -1
const guard = createGuard({
  authority: new ScriptedAuthority(systemClock),
  serverDeviceId: SERVER,
  surfaces: { records: 'tool-server' },
  journal: createSqliteJournal({ file }),
  log: createLogger({ level: 'silent' }),
  atCrashPoint: (point: CrashPoint) => {
    if (current === last && point === dieAt) process.kill(process.pid, 'SIGKILL')
  },
})
await guard.start()
const records = createRecords({ file, sharesJournal: true })
const tool = guardedToolCore(writeRecord(guard, records))
for (current = 0; current <= last; current += 1) {
  const value = `${current}:`.padEnd(Number(size), 'x')
  await tool?.call({ arguments: { key: 'letter', value }, callId: `call_${current}`, runId: 'run_1' })
}
