import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'

import { apiReference, type ApiReference } from '../../scripts/api-reference/pages.ts'
import { anchors, localLinks, PROJECT, readPage } from './markdown.ts'

let reference: ApiReference
beforeAll(async () => {
  reference = await apiReference()
}, 60_000)

describe('docs/api.md and docs/api', () => {
  test('are what npm run docs:api makes of the source, and nothing else is there', () => {
    for (const [file, text] of reference.pages)
      expect(
        existsSync(join(PROJECT, file)) && readFileSync(join(PROJECT, file), 'utf8'),
        `${file}: npm run docs:api makes it anew`,
      ).toBe(text)
    const there = ['docs/api.md', ...globSync('docs/api/*', { cwd: PROJECT })]
    expect(there.toSorted()).toEqual([...reference.pages.keys()].toSorted())
  })

  test('every public function, class, type and option has a doc comment', () => {
    expect(reference.undocumented).toEqual([])
  })

  test('have the signature and the comment of a name, its options each with its own, and no body', () => {
    const gates = reference.pages.get('docs/api/gates.md') ?? ''
    const [section = ''] = gates.split('### createAlerts\n')[1]?.split('\n### ') ?? []
    expect(section).toContain('a signed webhook')
    expect(section).toContain('function createAlerts(options: AlertsOptions): Alerts')
    expect(section).not.toContain('return')
    expect(gates).toMatch(/\/\*\* [^*]*milliseconds[^*]*\*\/\n {2}readonly timeoutMs\?: number/)
    const http = reference.pages.get('docs/api/http.md') ?? ''
    expect(http).toMatch(/### POST \/api\/v1\/devices\/revoke\n/)
    expect(http).toMatch(/\| `reason` +\| string, 1 to 500 characters \|/)
  })

  test('link only to files and headings that there are', () => {
    const pages = [...reference.pages].map(([file, text]) => readPage(file, text))
    const broken = pages.flatMap((page) =>
      localLinks(page).filter(({ path, heading }) => {
        const text = reference.pages.get(path) ?? readOrNothing(path)
        return text === undefined || (heading !== '' && !anchors(readPage(path, text)).includes(heading))
      }),
    )
    expect(broken).toEqual([])
  })
})

function readOrNothing(path: string): string | undefined {
  const file = join(PROJECT, path)
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}
