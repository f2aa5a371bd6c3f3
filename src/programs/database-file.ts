import { join } from 'node:path'

/** Where the control plane keeps everything. */
export function databaseFile(dataDir: string): string {
  return join(dataDir, 'control-plane.db')
}
