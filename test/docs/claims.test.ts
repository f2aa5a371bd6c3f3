import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

import { PROJECT } from './markdown.ts'

const read = (name: string) => readFileSync(join(PROJECT, name), 'utf8')

describe('what is claimed is shown, or says that it is not', () => {
  test('GUARANTEE.md links each of G1 to G8, and where it holds, to a test', () => {
    const text = read('GUARANTEE.md')
    const rows = text.split('\n').filter((line) => /^\| \*\*G\d\*\*/.test(line))
    expect(rows.map((row) => /G\d/.exec(row)?.[0])).toEqual(['G1', 'G2', 'G3', 'G4', 'G5', 'G6', 'G7', 'G8'])
    const parts = text.split('\n## ').filter((part) => !/^(?:#|Not promised)/.test(part))
    expect([...rows, ...parts].filter((part) => !isShown(part))).toEqual([])
  })

  test('THREAT_MODEL.md links each line in scope to a test', () => {
    const scope = read('THREAT_MODEL.md').split('\n## In scope\n')[1]?.split('\n## Out of scope\n')[0] ?? ''
    const lines = scope.split(/^- /m).slice(1)
    const shown = lines.filter(isShown)
    const rest = lines.filter((line) => !isShown(line))
    expect(rest.filter((line) => !line.includes('Not shown by a test.'))).toEqual([])
    expect(shown.filter((line) => line.includes('Not shown by a test.'))).toEqual([])
    expect(shown.length).toBeGreaterThan(40)
  })
})

function isShown(text: string): boolean {
  return /\]\(test\/[\w./-]+\.ts\)/.test(text)
}
