import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startReadmePrograms } from '../fixtures/readme-programs.ts'

/** What `npm start` runs, and an empty folder beside it in which `data` is its DATA_DIR, for pages that are played. */
export async function startWorld() {
  const programs = await startReadmePrograms()
  const { dataDir, controlPlaneUrl, toolServerUrl } = programs
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-played-'))
  symlinkSync(dataDir, join(dir, 'data'))
  return {
    dir,
    dataDir,
    controlPlaneUrl,
    /** What an address of a page is here. */
    urls: {
      'http://127.0.0.1:4100': controlPlaneUrl,
      'http://127.0.0.1:4101': secretsIn(dataDir)['consoleUrl'] ?? '',
      'http://127.0.0.1:4200': toolServerUrl,
    },
    env: { DATA_DIR: dataDir, TOOL_SERVER_URL: toolServerUrl },
    close: async () => {
      await programs.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export type World = Awaited<ReturnType<typeof startWorld>>

/** The operators' keys in that DATA_DIR. */
export function secretsIn(dataDir: string): Readonly<Record<string, string>> {
  return JSON.parse(readFileSync(join(dataDir, 'operator.json'), 'utf8')) as Record<string, string>
}
