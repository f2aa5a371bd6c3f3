import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

export const PROJECT = join(import.meta.dirname, '../..')

export interface CodeBlock {
  /** `docs/tools.md:12`, where it begins. */
  readonly at: string
  /** What stands behind the backticks: `ts`, `sh`, … */
  readonly language: string
  readonly text: string
}

export interface Page {
  /** Relative to the project. */
  readonly file: string
  readonly text: string
  readonly blocks: readonly CodeBlock[]
  /** What stands in backticks outside of blocks. */
  readonly spans: readonly string[]
}

const AT_THE_ROOT = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'GUARANTEE.md',
  'THREAT_MODEL.md',
  'SECURITY.md',
]

/** Those at the root and docs/*.md. */
export function pages(): readonly Page[] {
  const docs = readdirSync(join(PROJECT, 'docs')).filter((name) => name.endsWith('.md'))
  return [...AT_THE_ROOT, ...docs.map((name) => `docs/${name}`)].map((file) =>
    readPage(file, readFileSync(join(PROJECT, file), 'utf8')),
  )
}

const BLOCK = /^(?<indent> *)(?<fence>`{3,})(?<language>[^`\n]*)\n(?<text>[^]*?)^\k<indent>\k<fence>$/gm

export function readPage(file: string, text: string): Page {
  const blocks = blocksOf(file, text, 1)
  const prose = text.replaceAll(BLOCK, '')
  const spans = [...prose.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span)
  return { file, text, blocks, spans }
}

/** A block of text in a longer fence may hold blocks of code, which count by themselves too. */
function blocksOf(file: string, text: string, firstLine: number): readonly CodeBlock[] {
  return [...text.matchAll(BLOCK)].flatMap((match) => {
    const line = firstLine + text.slice(0, match.index).split('\n').length - 1
    const { language = '', text: inner = '' } = match.groups ?? {}
    const within = language.trim() === 'text' ? blocksOf(file, inner, line + 1) : []
    return [{ at: `${file}:${line}`, language: language.trim(), text: inner }, ...within]
  })
}

/** Everything of a page that is code, in blocks and in the text. */
export function codeOf({ blocks, spans }: Page): readonly string[] {
  return [...blocks.map((block) => block.text), ...spans]
}

/** The targets of links to files of the project, relative to it, with the heading after `#` if there is one. */
export function localLinks({
  file,
  text,
}: Page): readonly { readonly path: string; readonly heading: string }[] {
  const prose = text.replaceAll(BLOCK, '')
  return [...prose.matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)/g)].map(
    ([, path = '', heading = '']) => ({
      path: path === '' ? file : relative(PROJECT, join(PROJECT, file, '..', path)) || '.',
      heading,
    }),
  )
}

/** The anchors that a page's headings get. */
export function anchors({ text }: Page): readonly string[] {
  return [...text.replaceAll(BLOCK, '').matchAll(/^#+ +(.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
