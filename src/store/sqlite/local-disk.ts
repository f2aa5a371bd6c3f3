import { existsSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { HoldpointError } from '../../errors.ts'

/** Types of `statfs(2)` on Linux whose files other machines share, or whose locks do not hold. */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB2',
  0x01021997: '9p',
  0x5346414f: 'AFS',
  0x6b414653: 'AFS',
  0x00c36400: 'Ceph',
  0x73757245: 'Coda',
  0x564c: 'NCP',
  0x0bd00bd0: 'Lustre',
  0x01161970: 'GFS2',
  0x7461636f: 'OCFS2',
  0x47504653: 'GPFS',
  0x19830326: 'BeeGFS',
  0x786f4256: 'a VirtualBox shared folder',
}

/** What is asked of `fs.statfsSync`. */
export type Statfs = (path: string) => { readonly type: number }

/**
 * SQLite's WAL needs memory that two connections share, and locks that hold: a file system over the network promises
 * neither, and can lose or mix up what was committed (G5). Throws `STORE_ON_NETWORK`. Only Linux says the type.
 */
export function assertLocalDisk(file: string, statfs: Statfs = statfsSync): void {
  if (process.platform !== 'linux') return
  let directory = dirname(resolve(file))
  while (!existsSync(directory)) directory = dirname(directory)
  const name = NETWORK_FILE_SYSTEMS[statfs(directory).type >>> 0]
  if (name === undefined) return
  throw new HoldpointError(
    'STORE_ON_NETWORK',
    `The database ${file} would lie on a network file system (${name}), where an acknowledged change can be lost. ` +
      'Put it on a local disk: set DATA_DIR to a directory there.',
  )
}
