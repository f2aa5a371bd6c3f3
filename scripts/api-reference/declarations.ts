// What a public entry exports: each name's declaration without bodies, and its doc comment.

import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import {
  parseSync,
  type Class,
  type ClassElement,
  type Comment,
  type Declaration as DeclarationNode,
  type ExportNamedDeclaration as Exported,
  type Program,
  type TSInterfaceDeclaration,
  type TSMethodSignature,
  type TSPropertySignature,
} from 'oxc-parser'

export type DeclarationKind = 'function' | 'class' | 'value' | 'type'

export interface Declaration {
  readonly name: string
  readonly kind: DeclarationKind
  /** False for options that only stand in a signature. */
  readonly isImportable: boolean
  /** Where it stands, relative to the project. */
  readonly file: string
  /** The text of its doc comment, without stars. Empty where there is none. */
  readonly doc: string
  /** TypeScript, without bodies, with the doc comments of its members. */
  readonly signature: string
  /** `name`, or `name.member`, of everything that needs a doc comment and has none. */
  readonly undocumented: readonly string[]
}

interface Source {
  readonly path: string
  readonly text: string
  readonly body: Program['body']
  readonly comments: readonly Comment[]
}

type InterfaceMember = TSInterfaceDeclaration['body']['body'][number]
type OptionMember = TSMethodSignature | TSPropertySignature
interface Span {
  readonly start: number
  readonly end: number
}

export function createDeclarations(root: string) {
  const sources = new Map<string, Source>()
  const read = (path: string): Source => {
    const known = sources.get(path)
    if (known !== undefined) return known
    const text = readFileSync(path, 'utf8')
    const { program, comments, errors } = parseSync(path, text)
    if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message ?? 'cannot be parsed'}`)
    const source = { path, text, body: program.body, comments }
    sources.set(path, source)
    return source
  }

  /** The declarations of a name in a file, or in the file that it passes on; several for overloads. */
  const find = (path: string, name: string): { source: Source; nodes: readonly Exported[] } => {
    const source = read(path)
    const nodes = exportsOf(source).filter(
      ({ declaration }) => declaration !== null && namesOf(declaration).includes(name),
    )
    if (nodes.length > 0) return { source, nodes }
    for (const node of exportsOf(source)) {
      const specifier = node.specifiers.find(({ exported }) => nameOf(exported) === name)
      if (specifier === undefined || node.source === null) continue
      // A package's own type is documented by that package.
      if (!node.source.value.startsWith('.')) return { source, nodes: [node] }
      return find(join(dirname(path), node.source.value), nameOf(specifier.local))
    }
    throw new Error(`${relative(root, path)} exports no ${name} of its own.`)
  }

  const declaredOrImported = (source: Source, name: string) => {
    const own = exportsOf(source).filter(
      ({ declaration }) => declaration && namesOf(declaration).includes(name),
    )
    if (own.length > 0) return { source, nodes: own }
    const from = source.body
      .filter((node) => node.type === 'ImportDeclaration')
      .find(({ specifiers }) => specifiers.some(({ local }) => local.name === name))?.source.value
    return from?.startsWith('.') ? find(join(dirname(source.path), from), name) : undefined
  }

  /** What the file exports, by name. */
  return (entry: string): readonly Declaration[] => {
    const path = join(root, entry)
    const names = exportsOf(read(path)).flatMap(({ specifiers, declaration }) => [
      ...specifiers.map(({ exported }) => nameOf(exported)),
      ...(declaration === null ? [] : namesOf(declaration)),
    ])
    const found = names.map((name) => ({ name, isImportable: true, ...find(path, name) }))
    // Options that a signature names and nobody can import are as public as what takes them.
    for (const { source, nodes } of found) {
      for (const option of optionsIn(nodes.map((node) => signatureOf(source, node)).join(' '))) {
        if (found.some(({ name }) => name === option)) continue
        const there = declaredOrImported(source, option)
        if (there !== undefined) found.push({ name: option, isImportable: false, ...there })
      }
    }
    return found
      .toSorted((a, b) => a.name.localeCompare(b.name, 'en'))
      .map(({ name, isImportable, source, nodes }) => ({
        ...declarationOf(name, relative(root, source.path), source, nodes),
        isImportable,
      }))
  }
}

function optionsIn(signature: string): readonly string[] {
  return [...new Set(signature.match(/\b[A-Z]\w*Options\b/g))]
}

function exportsOf({ body }: Source): readonly Exported[] {
  return body.filter((node) => node.type === 'ExportNamedDeclaration')
}

function declarationOf(
  name: string,
  file: string,
  source: Source,
  exported: readonly Exported[],
): Omit<Declaration, 'isImportable'> {
  const overloads = exported.filter(({ declaration }) => declaration?.type === 'TSDeclareFunction')
  const nodes = overloads.length > 0 ? overloads : exported
  const docs = exported.map((node) => docBefore(source, node))
  const doc = docs.find((text) => text !== '') ?? ''
  const signature = nodes.map((node) => signatureOf(source, node)).join('\n')
  const members = nodes.flatMap(({ declaration }) =>
    declaration === null ? [] : undocumentedMembers(source, name, declaration),
  )
  return {
    name,
    kind: kindOf(nodes[0]?.declaration),
    file,
    doc,
    signature,
    undocumented: [...(doc === '' ? [name] : []), ...members],
  }
}

function kindOf(node: DeclarationNode | null | undefined): DeclarationKind {
  const kind = node && KINDS[node.type]
  return kind ?? 'type'
}

const KINDS: Partial<Record<DeclarationNode['type'], DeclarationKind>> = {
  FunctionDeclaration: 'function',
  TSDeclareFunction: 'function',
  ClassDeclaration: 'class',
  VariableDeclaration: 'value',
}

function signatureOf(source: Source, node: Exported): string {
  const { declaration } = node
  if (declaration === null) return textOf(source, node)
  if (declaration.type === 'FunctionDeclaration')
    return textOf(source, { start: declaration.start, end: declaration.body?.start ?? declaration.end })
  if (declaration.type === 'ClassDeclaration') return classText(source, declaration)
  return textOf(source, declaration)
}

function classText(source: Source, node: Class): string {
  const members = node.body.body.filter(isPublic).map((member) => {
    const doc = docCommentBefore(source, member)
    const text = textOf(source, headOf(member)).replace(/^override /, '')
    return doc === '' ? `  ${text}` : `  ${doc}\n  ${text}`
  })
  const head = textOf(source, { start: node.start, end: node.body.start })
  return members.length === 0 ? `${head} {}` : `${head} {\n${members.join('\n')}\n}`
}

/** A method without its body, a property without its value. */
function headOf(member: ClassElement): Span {
  const { start, end } = member
  if (member.type === 'MethodDefinition') return { start, end: member.value.body?.start ?? end }
  if (member.type === 'PropertyDefinition' && member.typeAnnotation)
    return { start, end: member.typeAnnotation.end }
  return { start, end }
}

function isPublic(member: ClassElement): boolean {
  if (member.type !== 'MethodDefinition' && member.type !== 'PropertyDefinition') return false
  return member.key.type !== 'PrivateIdentifier' && member.accessibility !== 'private'
}

/** Of a class its methods and properties, of options each option. */
function undocumentedMembers(source: Source, name: string, node: DeclarationNode): readonly string[] {
  const missing = (members: readonly (Span & { readonly key: Span })[]) =>
    members
      .filter((member) => docBefore(source, member) === '')
      .map(({ key }) => `${name}.${source.text.slice(key.start, key.end)}`)
  if (node.type === 'ClassDeclaration') {
    const members = node.body.body.filter(isPublic).flatMap((member) => ('key' in member ? [member] : []))
    return missing(members.filter((member) => !isInherited(source, member)))
  }
  if (node.type === 'TSInterfaceDeclaration' && name.endsWith('Options'))
    return missing(node.body.body.flatMap((member) => (isOption(member) ? [member] : [])))
  return []
}

/** One of type `never` is there to be left out. */
function isOption(member: InterfaceMember): member is OptionMember {
  if (member.type === 'TSMethodSignature') return true
  return (
    member.type === 'TSPropertySignature' && member.typeAnnotation?.typeAnnotation.type !== 'TSNeverKeyword'
  )
}

/** The constructor, and what its base class has a word for. */
function isInherited(source: Source, member: Span & { readonly key: Span }): boolean {
  const text = source.text.slice(member.start, member.end)
  return /^(?:override|constructor|declare) ?\b/.test(text)
}

function docBefore(source: Source, node: Span): string {
  return docCommentBefore(source, node)
    .replace(/^\/\*\*\s?/, '')
    .replace(/\s*\*\/$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, ''))
    .join('\n')
    .trim()
}

/** The comment that ends right before it, as it stands there. Remarks for tools may stand between. */
function docCommentBefore({ text, comments }: Source, node: Span): string {
  const comment = comments.findLast(({ type, end }) => type === 'Block' && end <= node.start)
  if (comment === undefined || !comment.value.startsWith('*')) return ''
  if (
    text
      .slice(comment.end, node.start)
      .replaceAll(/\/\/.*/g, '')
      .trim() !== ''
  )
    return ''
  return text.slice(comment.start, comment.end)
}

function textOf({ text }: Source, { start, end }: Span): string {
  return text.slice(start, end).trim().replace(/;$/, '')
}

function namesOf(node: DeclarationNode): readonly string[] {
  if (node.type === 'VariableDeclaration')
    return node.declarations.flatMap(({ id }) => (id.type === 'Identifier' ? [id.name] : []))
  return 'id' in node && node.id?.type === 'Identifier' ? [node.id.name] : []
}

function nameOf(node: Exported['specifiers'][number]['local']): string {
  return node.type === 'Literal' ? node.value : node.name
}
