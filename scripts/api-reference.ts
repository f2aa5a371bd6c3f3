// npm run docs:api: writes docs/api.md and docs/api/ anew, from the doc comments of what is public and from /openapi.json.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { apiReference, PROJECT } from './api-reference/pages.ts'

const { pages, undocumented } = await apiReference()
for (const [file, text] of pages) {
  mkdirSync(dirname(join(PROJECT, file)), { recursive: true })
  writeFileSync(join(PROJECT, file), text)
}
process.stdout.write(`${[...pages.keys()].join('\n')}\n`)
if (undocumented.length > 0) {
  process.stderr.write(`Without a doc comment:\n${undocumented.map((name) => `  ${name}\n`).join('')}`)
  process.exitCode = 1
}
