import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { PROJECT } from '../docs/markdown.ts'

export interface Instruction {
  readonly name: string
  /** What stands behind the name, lines joined, flags left out. */
  readonly text: string
  readonly flags: readonly string[]
  /** Which FROM it belongs to: 1 is the first. */
  readonly stage: number
}

export const CONTAINERFILE = readFileSync(join(PROJECT, 'Containerfile'), 'utf8')

export const INSTRUCTIONS: readonly Instruction[] = instructionsOf(CONTAINERFILE)

/** The text of each instruction of this name in the image that results. */
export function inImage(name: string): readonly string[] {
  const last = Math.max(...INSTRUCTIONS.map(({ stage }) => stage))
  return INSTRUCTIONS.filter((one) => one.stage === last && one.name === name).map(({ text }) => text)
}

/** What is copied out of the project, as pairs of source and target. */
export function copies(stages: 'all' | 'image'): readonly (readonly [source: string, target: string])[] {
  const last = Math.max(...INSTRUCTIONS.map(({ stage }) => stage))
  return INSTRUCTIONS.filter(
    ({ name, flags, stage }) => name === 'COPY' && flags.length === 0 && (stages === 'all' || stage === last),
  ).flatMap(({ text }) => {
    const paths = text.split(/\s+/)
    const target = paths.pop() ?? ''
    return paths.map(
      (path) => [path, target.endsWith('/') ? join(target, path.split('/').at(-1) ?? '') : target] as const,
    )
  })
}

function instructionsOf(text: string): Instruction[] {
  let stage = 0
  return text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', flags = '', rest = ''] = /^(\S+)((?:\s+--\S+)*)\s+(.*)$/.exec(line.trim()) ?? []
      if (name === 'FROM') stage++
      return { name, text: rest.replaceAll(/\s+/g, ' '), flags: flags.split(/\s+/).filter(Boolean), stage }
    })
}
