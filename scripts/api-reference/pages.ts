// Every page of the API reference, as it must stand in docs/.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'

import { startControlPlane } from '../../src/control-plane/index.ts'
import { createLogger } from '../../src/log.ts'
import { createDeclarations, type Declaration } from './declarations.ts'
import { entryPage, GENERATED, type Entry } from './entry-page.ts'
import { httpPage, type OpenApi } from './http-page.ts'

export const PROJECT = join(import.meta.dirname, '../..')

/** What an entry passes on is described where it first is in this order. */
const ENTRIES: readonly Entry[] = [
  {
    specifier: 'holdpoint',
    file: 'src/index.ts',
    page: 'library',
    what: 'The guard, guarded tools, runs of agents, and what they are made of.',
  },
  {
    specifier: 'holdpoint/client',
    file: 'src/client.ts',
    page: 'client',
    what: 'The client of the authority alone, without agents, guard and servers.',
  },
  {
    specifier: 'holdpoint/gates',
    file: 'src/gates/index.ts',
    page: 'gates',
    what: 'Hold points for what no agent does: processes, loops, jobs, consumers, webhooks. [gates.md](../gates.md) shows each.',
  },
  {
    specifier: 'holdpoint/tool-server',
    file: 'src/tool-server/index.ts',
    page: 'tool-server',
    what: 'Host guarded tools and agents of your own over HTTP and MCP.',
  },
  {
    specifier: 'holdpoint/control-plane',
    file: 'src/control-plane/index.ts',
    page: 'control-plane',
    what: 'An authority of your own in a program of your own.',
  },
]

export interface ApiReference {
  /** Text by file, relative to the project. */
  readonly pages: ReadonlyMap<string, string>
  /** What has no doc comment: `src/guard/guard.ts: Guard.check`. */
  readonly undocumented: readonly string[]
}

export async function apiReference(): Promise<ApiReference> {
  const declarationsOf = createDeclarations(PROJECT)
  const home = new Map<string, Entry>()
  const listed = ENTRIES.map((entry) => ({ entry, declarations: declarationsOf(entry.file) }))
  for (const { entry, declarations } of listed)
    for (const declaration of declarations)
      if (!home.has(idOf(declaration))) home.set(idOf(declaration), entry)
  const pages = new Map<string, string>()
  const add = async (file: string, text: string) => {
    const options = (await resolveConfig(join(PROJECT, file))) ?? {}
    pages.set(file, await format(text, { ...options, parser: 'markdown' }))
  }
  await add('docs/api.md', indexPage(listed))
  for (const { entry, declarations } of listed) {
    const elsewhere = (declaration: Declaration) => {
      const there = home.get(idOf(declaration))
      return there === entry ? undefined : there
    }
    await add(`docs/api/${entry.page}.md`, entryPage(entry, declarations, elsewhere))
  }
  await add('docs/api/http.md', httpPage(await openApi()))
  const undocumented = listed.flatMap(({ declarations }) =>
    declarations.flatMap(({ file, undocumented: names }) => names.map((name) => `${file}: ${name}`)),
  )
  return { pages, undocumented: [...new Set(undocumented)] }
}

function idOf({ file, name }: Declaration): string {
  return `${file}#${name}`
}

function indexPage(
  listed: readonly { readonly entry: Entry; readonly declarations: readonly Declaration[] }[],
): string {
  const rows = listed.map(
    ({ entry: { specifier, page, what }, declarations }) =>
      `| [\`${specifier}\`](api/${page}.md) | ${declarations.filter(({ isImportable }) => isImportable).length} | ${what.replaceAll('](../', '](')} |`,
  )
  const parts = [
    '# API reference',
    GENERATED,
    'Every public name with its declaration and its comment: units, defaults, errors. To learn it, read [tools.md](tools.md) and [gates.md](gates.md) instead.',
    ['| import from | names | what |', '| --- | --- | --- |', ...rows].join('\n'),
    'Over the wire: [the HTTP API of the control plane](api/http.md). That of the tool server is in [http.md](http.md).',
    'A name that is not here is not public, and may change in any release ([releasing.md](releasing.md)).',
  ]
  return parts.join('\n\n')
}

/** As a control plane serves it. */
async function openApi(): Promise<OpenApi> {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-openapi-'))
  const env = { DATA_DIR: dir, CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0' }
  const controlPlane = await startControlPlane({ env, log: createLogger({ level: 'silent' }) })
  try {
    const response = await fetch(`${controlPlane.url}/openapi.json`)
    return (await response.json()) as OpenApi
  } finally {
    await controlPlane.close()
    rmSync(dir, { recursive: true, force: true })
  }
}
