import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { describeRunFence } from '../contract/run-fence.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('run-fence')

describeRunFence('sqlite', (nowMs) => createSqliteToolStore({ file: newFile(), nowMs }).runs)
