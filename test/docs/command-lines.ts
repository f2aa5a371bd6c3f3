import { pages } from './markdown.ts'

/** A command of a block for the shell, a line that goes on after `\` as one. */
interface CommandLine {
  /** Relative to the project. */
  readonly file: string
  /** The heading that it stands below, without `#`. */
  readonly heading: string
  readonly line: string
}

/** Every command of every page, in order. */
export function commandLines(): readonly CommandLine[] {
  return pages().flatMap(({ file, text, blocks }) => {
    const headingAt = headings(text)
    return blocks
      .filter(({ language }) => language === 'sh')
      .flatMap(({ at, text: block }) => {
        const heading = headingAt(Number(at.split(':')[1]))
        const lines = block.replaceAll(/\\\n\s*/g, '').split('\n')
        return lines.filter((line) => line.trim() !== '').map((line) => ({ file, heading, line }))
      })
  })
}

/** Without what a shell does not see, and however holdpoint is found. */
export function bare(line: string): string {
  return line
    .replace(/\s+# .*$/, '')
    .replace(/^npx (?=holdpoint )/, '')
    .trim()
}

function headings(text: string): (line: number) => string {
  const found: { readonly from: number; readonly heading: string }[] = []
  let fence: string | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const [, mark] = /^ *(`{3,})/.exec(line) ?? []
    if (mark !== undefined) {
      if (fence === undefined) fence = mark
      else if (mark.length >= fence.length) fence = undefined
      continue
    }
    const [, heading] = /^#+ +(.*)$/.exec(line) ?? []
    if (fence === undefined && heading !== undefined) found.push({ from: index + 1, heading })
  }
  return (at) => found.findLast(({ from }) => from <= at)?.heading ?? ''
}
