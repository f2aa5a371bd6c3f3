// The page of one public entry.

import type { Declaration, DeclarationKind } from './declarations.ts'

export interface Entry {
  /** What a program imports from. */
  readonly specifier: string
  /** Relative to the project. */
  readonly file: string
  /** `library` for `docs/api/library.md`. */
  readonly page: string
  /** One sentence. */
  readonly what: string
}

const SECTIONS: readonly (readonly [DeclarationKind, string])[] = [
  ['function', 'Functions'],
  ['class', 'Classes'],
  ['value', 'Values'],
  ['type', 'Types'],
]

/** `elsewhere`: the entry whose page has a declaration that this one passes on. */
export function entryPage(
  { specifier, what }: Entry,
  declarations: readonly Declaration[],
  elsewhere: (declaration: Declaration) => Entry | undefined,
): string {
  const own = declarations.filter((declaration) => elsewhere(declaration) === undefined)
  const passedOn = Map.groupBy(
    declarations.filter((declaration) => elsewhere(declaration) !== undefined),
    elsewhere,
  )
  const sections = SECTIONS.flatMap(([kind, title]) => {
    const ofKind = own.filter((declaration) => declaration.kind === kind)
    return ofKind.length === 0 ? [] : [`## ${title}`, ...ofKind.map(declarationText)]
  })
  const also = [...passedOn].flatMap(([entry, names]) =>
    entry === undefined
      ? []
      : [
          `Also here, described on [the page of \`${entry.specifier}\`](${entry.page}.md): ${names.map(({ name }) => `\`${name}\``).join(', ')}.`,
        ],
  )
  return [`# \`${specifier}\``, GENERATED, what, ...also, ...sections].join('\n\n')
}

export const GENERATED = '<!-- Made by `npm run docs:api` from the source. Change the comments there. -->'

function declarationText({ name, doc, signature, isImportable }: Declaration): string {
  const only = isImportable ? '' : 'Cannot be imported by name.'
  return [`### ${name}`, proseOf(doc), only, `\`\`\`typescript\n${signature}\n\`\`\``]
    .filter((part) => part !== '')
    .join('\n\n')
}

/** Examples in a comment stay code; `{@link …}` and tags are not used here. */
function proseOf(doc: string): string {
  return doc.replaceAll(/^ {2,}/gm, '')
}
