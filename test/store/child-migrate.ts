// Opens FILE and brings its schema forward, slowly: `node child-migrate.ts FILE`. For a race of several processes.

import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'

const [, , file = ''] = process.argv
const db = openSqlite(file)
migrate(db, file, [
  (given) => {
    given.exec('CREATE TABLE a (x INTEGER) STRICT')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
  },
  'CREATE TABLE b (x INTEGER) STRICT',
])
db.close()
