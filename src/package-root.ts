import { fileURLToPath } from 'node:url'

/** The folder with package.json: seen from `src/`, and from `dist/src/` of the published package. */
export const packageRoot = new URL(isSource() ? '../' : '../../', import.meta.url)

/** A checkout runs its sources; a published package has none, and runs what was built of them. */
export function isSource(): boolean {
  return import.meta.url.endsWith('.ts')
}

/** What Node takes to run `holdpoint` in a process of its own. Arguments are put behind it. */
export function ownProgram(): readonly string[] {
  const main = new URL(isSource() ? './main.ts' : './main.js', import.meta.url)
  return isSource() ? ['--conditions=holdpoint-source', fileURLToPath(main)] : [fileURLToPath(main)]
}
