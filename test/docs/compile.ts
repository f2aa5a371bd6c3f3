import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

import { PROJECT, type CodeBlock } from './markdown.ts'
import type { UserProject } from './user-project.ts'

/** Each is a module: without that, blocks that import nothing would share their names. */
const COMPILER_OPTIONS = { moduleDetection: 'force', noEmit: true }

/**
 * One run of the compiler over all blocks, each a file of the project. Gives what it says, by the block's `at`, and
 * under `elsewhere` what is not about one of them.
 */
export function compile(
  project: Pick<UserProject, 'dir' | 'write'>,
  blocks: readonly CodeBlock[],
  config: { readonly extends?: string; readonly compilerOptions?: object },
): Map<string, string[]> {
  blocks.forEach(({ text }, index) => project.write(`block-${index}.ts`, text))
  const compilerOptions = { ...COMPILER_OPTIONS, ...config.compilerOptions }
  project.write('tsconfig.json', JSON.stringify({ ...config, compilerOptions, include: ['block-*.ts'] }))
  const tsc = join(PROJECT, 'node_modules/typescript/bin/tsc')
  const options = { cwd: project.dir, encoding: 'utf8', timeout: 50_000 } as const
  const { stdout } = spawnSync(process.execPath, [tsc, '--pretty', 'false'], options)

  const said = new Map<string, string[]>()
  // What it says over several lines begins with spaces from the second on.
  for (const complaint of stdout
    .trim()
    .split(/\n(?=\S)/)
    .filter(Boolean)) {
    const [, index, line, what] = /^block-(\d+)\.ts\((\d+),\d+\): (.*)$/s.exec(complaint) ?? []
    const at = blocks[Number(index)]?.at ?? 'elsewhere'
    said.set(at, [
      ...(said.get(at) ?? []),
      line === undefined ? complaint : `line ${line} of the block: ${what}`,
    ])
  }
  return said
}
