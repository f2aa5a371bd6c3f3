import { createCallerToken, SCOPES, type CallerRecord, type Scope } from '../tool-server/callers.ts'
import { editCallersFile, readCallersFile } from './callers-file.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { collected } from './devices.ts'
import { madeSecret } from './secret-file.ts'
import { table } from './table.ts'

interface FileOptions {
  readonly file?: string
}

interface CreateOptions extends FileOptions {
  readonly scope?: readonly string[]
  readonly id?: string
  readonly out?: string
}

/** Who may call the tool server. The file is read anew for every call: a change holds at once. */
export const callerCommands: Commands = (program, cli) => {
  const callers = program.command('callers').description('who may call the tool server (CALLER_TOKENS_FILE)')
  const file = ['--file <file>', 'default: CALLER_TOKENS_FILE'] as const
  callers
    .command('ls')
    .description('list them, without their tokens')
    .option(...file)
    .action((options: FileOptions) => list(cli(), options))
  callers
    .command('create <name>')
    .description('add one')
    .option('--scope <scope>', `${SCOPES.join(', ')}; may be given several times`, collected)
    .option('--id <id>', 'replace the token of this caller: effects and results stay its own')
    .option('--out <file>', 'write the token to this file, mode 0600, instead of printing it')
    .option(...file)
    .action((name: string, options: CreateOptions) => create(cli(), name, options))
  callers
    .command('rm <caller>')
    .description('take one out: its token is refused from then on')
    .option(...file)
    .action((id: string, options: FileOptions) => remove(cli(), id, options))
}

function fileOf(cli: Cli, { file = cli.callerTokensFile }: FileOptions): string {
  if (file !== undefined) return file
  throw new CliError(
    'FILE_NEEDED',
    'Say which file: --file FILE, or set CALLER_TOKENS_FILE as the tool server has it.',
    EXIT.usage,
  )
}

function list(cli: Cli, options: FileOptions): void {
  const callers = readCallersFile(fileOf(cli, options)).map(({ id, name, scopes }) => ({ id, name, scopes }))
  const text = () =>
    table(
      callers,
      [
        { title: 'CALLER', of: ({ id }) => id },
        { title: 'NAME', of: ({ name }) => name, shrinks: true },
        { title: 'SCOPES', of: ({ scopes }) => scopes.join(' ') },
      ],
      cli,
    )
  cli.show({ json: { callers }, text })
}

async function create(cli: Cli, name: string, options: CreateOptions): Promise<void> {
  const { out, id } = options
  const file = fileOf(cli, options)
  const scopes = scopesOf(options.scope ?? [])
  const { token, record } = await madeSecret(
    out,
    () => {
      const made = createCallerToken({ name, scopes, ...(id !== undefined && { id }) })
      editCallersFile(file, (callers) => withCaller(callers, made.record, id !== undefined))
      return made
    },
    (made) => made.token,
  )
  const { sha256: _, ...caller } = record
  const text = `${id === undefined ? 'Added' : 'Replaced the token of'} caller ${record.id} (${record.name}) in ${file}.`
  if (out !== undefined) {
    return cli.show({
      json: { ...caller, file, out },
      text: `${text} The token is in ${out}, and nowhere else.`,
    })
  }
  if (!cli.isJson) cli.note(text)
  cli.note(
    'This is the only time that the token is shown: put it where secrets are kept. Next time: --out FILE',
  )
  cli.show({ json: { ...caller, file, token }, text: '', secret: token })
}

function withCaller(
  callers: readonly CallerRecord[],
  record: CallerRecord,
  replaces: boolean,
): readonly CallerRecord[] {
  const others = callers.filter(({ id }) => id !== record.id)
  if (replaces && others.length === callers.length) throw noSuchCaller(record.id)
  return [...others, record]
}

function remove(cli: Cli, id: string, options: FileOptions): void {
  const file = fileOf(cli, options)
  editCallersFile(file, (callers) => {
    const others = callers.filter((caller) => caller.id !== id)
    if (others.length === callers.length) throw noSuchCaller(id)
    return others
  })
  cli.show({
    json: { removed: id, file },
    text: `Removed caller ${id} from ${file}. Its token is refused from now on.`,
  })
}

function noSuchCaller(id: string): CliError {
  return new CliError('CALLER_NOT_FOUND', `There is no caller ${id} in the file. See: holdpoint callers ls`)
}

function scopesOf(texts: readonly string[]): readonly Scope[] {
  const scopes = texts
    .flatMap((text) => text.split(','))
    .map((text) => {
      const scope = SCOPES.find((known) => known === text)
      if (scope !== undefined) return scope
      throw new CliError(
        'BAD_SCOPE',
        `"${text}" is not a scope. There are: ${SCOPES.join(', ')}.`,
        EXIT.usage,
      )
    })
  if (scopes.length > 0) return [...new Set(scopes)]
  throw new CliError(
    'SCOPE_NEEDED',
    `Say what it may do: --scope SCOPE, of ${SCOPES.join(', ')}.`,
    EXIT.usage,
  )
}
