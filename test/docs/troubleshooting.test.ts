import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { LOCAL_CODES } from '../../src/local-codes.ts'
import { AUTHORITY_DENIAL_CODES } from '../../src/machineid/wire.ts'
import { PROJECT } from './markdown.ts'

const PAGE = readFileSync(join(PROJECT, 'docs/troubleshooting.md'), 'utf8')

/** The rows of the table under a heading, as their cells. */
function rowsOf(heading: string): readonly (readonly string[])[] {
  const section = PAGE.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('| `'))
  return lines.map((line) =>
    line
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.trim()),
  )
}

test('docs/troubleshooting.md says of each code of the guard what holdpoint explain says of it', () => {
  const expected = Object.entries(LOCAL_CODES).map(([code, { means, todo }]) => [`\`${code}\``, means, todo])
  expect(rowsOf('Codes of the guard')).toEqual(expected)
})

test('and of each code that a control plane denies with what to do', () => {
  const said = rowsOf('Codes of the authority')
  expect(said.map(([code]) => code)).toEqual(
    [...AUTHORITY_DENIAL_CODES, 'DEVICE_LIMIT_REACHED'].map((code) => `\`${code}\``),
  )
  for (const [, means = '', todo = ''] of said) expect([means, todo]).not.toContain('')
})

test('and of what a start fails with only what a program says', () => {
  const files = [...globSync('src/**/*.ts', { cwd: PROJECT }), 'scripts/node-version.js']
  const source = files.map((file) => readFileSync(join(PROJECT, file), 'utf8')).join('\n')
  const quoted = rowsOf('It does not start').flatMap(([said = '']) => [...said.matchAll(/`([^`]+)`/g)])
  // Addresses and codes stand where the source has a placeholder.
  const parts = quoted.flatMap(([, text = '']) => text.split(/127\.0\.0\.1:4100|[A-Z]+_[A-Z_]+$/))
  const missing = parts.map((part) => part.trim()).filter((part) => part !== '' && !source.includes(part))
  expect(missing).toEqual([])
  expect(parts.length).toBeGreaterThan(12)
})
