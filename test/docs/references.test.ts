import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { describe, expect, test } from 'vitest'

import { anchors, codeOf, localLinks, pages, PROJECT, readPage } from './markdown.ts'

const PAGES = pages()
const { scripts } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}
/** Commands of npm itself. */
const NPM = ['audit', 'ci', 'exec', 'install', 'pack', 'pkg', 'publish', 'sbom', 'version']

describe.each(PAGES)('$file', (page) => {
  test('names only npm scripts that there are', () => {
    const named = codeOf(page).flatMap((code) => [...code.matchAll(/\bnpm (run (?:-s )?)?([a-z][\w:-]*)/g)])
    const missing = named.filter(([, run, name = '']) => !(name in scripts) && (run || !NPM.includes(name)))
    expect(missing.map(([text]) => text)).toEqual([])
  })

  test('links only to files and headings that there are', () => {
    const broken = localLinks(page).filter(({ path, heading }) => {
      const file = join(PROJECT, path)
      if (!existsSync(file)) return true
      return heading !== '' && !anchors(readPage(path, readFileSync(file, 'utf8'))).includes(heading)
    })
    expect(broken).toEqual([])
  })

  test('names only files of this project that there are', () => {
    const ours = /^(?:src|test|docs|demo|tools|examples|scripts|bin)\/[\w./-]+$/
    const named = page.spans.filter((span) => ours.test(span))
    expect(named.filter((path) => !existsSync(join(PROJECT, path)))).toEqual([])
  })

  test('names only variables that are in .env.example, and codes that are in the source', () => {
    const capitals = codeOf(page).flatMap((code) => code.match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? [])
    const known = new Set([...variables(), ...codes()])
    expect([...new Set(capitals)].filter((name) => !known.has(name))).toEqual([])
  })
})

function variables(): readonly string[] {
  return Object.keys(parseEnv(readFileSync(join(PROJECT, '.env.example'), 'utf8')))
}

/** Everything in capitals that stands in quotes in `src/`. */
function codes(): readonly string[] {
  const files = globSync('src/**/*.ts', { cwd: PROJECT }).filter((file) => file !== join('src', 'config.ts'))
  return files.flatMap((file) =>
    [...readFileSync(join(PROJECT, file), 'utf8').matchAll(/'([A-Z][A-Z0-9_]*)'/g)].map(
      ([, code = '']) => code,
    ),
  )
}
