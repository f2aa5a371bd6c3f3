import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'

import { pythonProblem } from '../fixtures/machineid-clients/python.ts'
import { compile } from './compile.ts'
import { pages, PROJECT, type CodeBlock } from './markdown.ts'
import { createUserProject } from './user-project.ts'

const BLOCKS = pages().flatMap((page) => page.blocks)
const TYPESCRIPT = BLOCKS.filter(({ language }) => language === 'ts')
/** A block that must not compile: without it, a compiler that looks at nothing would go unnoticed. */
const WRONG: CodeBlock = {
  at: 'wrong',
  language: 'ts',
  text: "import { nothing } from 'holdpoint'\nnothing()\n",
}

const noPython = await pythonProblem()
if (noPython !== undefined) console.warn(`skipped: Python of the docs is not parsed, ${noPython}`)

let complaints: Map<string, string[]>

beforeAll(() => {
  using project = createUserProject()
  complaints = compile(project, [...TYPESCRIPT, WRONG], { extends: join(PROJECT, 'tsconfig.json') })
}, 60_000)

describe('every code block of README.md, CONTRIBUTING.md and docs/', () => {
  test('says what language it is in, of those that are checked or need no check', () => {
    // Recorded sessions are played again by test/e2e/stop-readme.test.ts, those of the README alone.
    const isSession = ({ at, language }: CodeBlock) => language === 'console' && at.startsWith('README.md:')
    // What is pasted into a coding assistant; the TypeScript in it counts by itself.
    const isPrompt = ({ at, language }: CodeBlock) => language === 'text' && at.startsWith('docs/prompts.md:')
    const others = BLOCKS.filter(
      (block) =>
        !['ts', 'sh', 'json', 'python'].includes(block.language) && !isSession(block) && !isPrompt(block),
    )
    expect(others.map(({ at, language }) => `${at} is "${language}"`)).toEqual([])
  })

  test.each(TYPESCRIPT.map(({ at }) => at))('%s compiles by itself, as strictly as the project', (at) => {
    expect(complaints.get(at) ?? []).toEqual([])
  })

  test('and one that is wrong would be found; beyond that the compiler has nothing to say', () => {
    expect(complaints.get(WRONG.at)).toEqual([expect.stringContaining("no exported member 'nothing'")])
    expect(complaints.get('elsewhere') ?? []).toEqual([])
  })

  test.skipIf(noPython !== undefined).each(BLOCKS.filter(({ language }) => language === 'python'))(
    '$at is Python',
    ({ text }) => {
      const parse = 'import ast, sys; ast.parse(sys.stdin.read())'
      const { status, stderr } = spawnSync('python3', ['-c', parse], { input: text, encoding: 'utf8' })
      expect([status, stderr]).toEqual([0, ''])
    },
  )

  test.each(BLOCKS.filter(({ language }) => language === 'json'))('$at is JSON', ({ text }) => {
    expect(() => void JSON.parse(text)).not.toThrow()
  })
})
