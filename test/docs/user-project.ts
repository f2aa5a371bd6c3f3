import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { PROJECT } from './markdown.ts'

/** A folder that is a user's project, with `holdpoint` and everything it depends on installed. */
export interface UserProject extends Disposable {
  readonly dir: string
  /** Writes a file, and gives its path. */
  write(name: string, text: string): string
}

/** `install` puts `holdpoint` where it is told. Default: a link to this project, as `npm link` makes it. */
export function createUserProject(
  install: (target: string) => void = (target) => symlinkSync(PROJECT, target),
): UserProject {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-user-'))
  const installed = join(dir, 'node_modules')
  mkdirSync(installed)
  const source = join(PROJECT, 'node_modules')
  for (const name of readdirSync(source)) symlinkSync(join(source, name), join(installed, name))
  install(join(installed, 'holdpoint'))
  const write = (name: string, text: string): string => {
    const file = join(dir, name)
    writeFileSync(file, text)
    return file
  }
  write('package.json', JSON.stringify({ name: 'user', private: true, type: 'module' }))
  return { dir, write, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) }
}
