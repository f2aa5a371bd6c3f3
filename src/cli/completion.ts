import type { Argument, Command } from 'commander'

import { shellQuoted } from '../shell-quoted.ts'
import { EXIT, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'

/** A script for the shell, made of the commands that there are. It asks no server and knows no key. */
export const completionCommands: Commands = (program, cli) => {
  program
    .command('completion')
    .description('a script that completes commands and options in your shell')
    .addArgument(program.createArgument('<shell>', 'which one').choices(Object.keys(SHELLS)))
    .addHelpText(
      'after',
      '\nbash:  source <(holdpoint completion bash)\nzsh:   source <(holdpoint completion zsh)\n' +
        'fish:  holdpoint completion fish | source',
    )
    .action((shell: string) => {
      const script = SHELLS[shell]?.(nodesOf(program))
      if (script === undefined)
        throw new CliError('BAD_SHELL', `There is no script for ${shell}.`, EXIT.usage)
      cli().show({ json: { shell, script }, text: script })
    })
}

interface Word {
  readonly word: string
  readonly help: string
}

/** What may come after `path`. */
interface Node {
  /** `devices revoke`; empty for the beginning. */
  readonly path: string
  readonly words: readonly Word[]
}

function nodesOf(program: Command): readonly Node[] {
  const globals = optionsOf(program)
  const walk = (command: Command, path: string): Node[] => {
    const children = command.commands.map((child) => ({ word: child.name(), help: summaryOf(child) }))
    const choices = command.registeredArguments.flatMap((argument) => choicesOf(argument))
    const own = command === program ? [] : optionsOf(command)
    const words = [...children, ...choices, ...own, ...globals]
    const below = command.commands.flatMap((child) => walk(child, `${path} ${child.name()}`.trim()))
    return [{ path, words }, ...below]
  }
  return walk(program, '')
}

function optionsOf(command: Command): readonly Word[] {
  return command.options.flatMap(({ long, description }) =>
    typeof long === 'string' ? [{ word: long, help: description }] : [],
  )
}

function choicesOf({ argChoices, description }: Argument): readonly Word[] {
  return (argChoices ?? []).map((word) => ({ word, help: description }))
}

function summaryOf(command: Command): string {
  return command.summary() || (command.description().split('\n')[0] ?? '')
}

const SHELLS: Readonly<Record<string, (nodes: readonly Node[]) => string>> = { bash, zsh, fish }

/** The words that are commands, in the order in which they stand before the cursor. */
function bash(nodes: readonly Node[]): string {
  return `_holdpoint() {
  local path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
${pathCases(nodes, (path) => `      ${path}) path=${path} ;;`)}
    esac
  done
  case "$path" in
${nodes.map(({ path, words }) => `    ${shellQuoted(path)}) words=${shellQuoted(words.map(({ word }) => word).join(' '))} ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _holdpoint holdpoint`
}

function zsh(nodes: readonly Node[]): string {
  const described = (words: readonly Word[]) =>
    words.map(({ word, help }) => shellQuoted(`${word}:${help.replaceAll(':', '\\:')}`)).join(' ')
  return `#compdef holdpoint
_holdpoint() {
  local at="" word
  local -a options
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "\${at:+$at }$word" in
${pathCases(nodes, (path) => `      ${path}) at=${path} ;;`)}
    esac
  done
  case "$at" in
${nodes.map(({ path, words }) => `    ${shellQuoted(path)}) options=(${described(words)}) ;;`).join('\n')}
  esac
  _describe 'holdpoint' options || _files
}
if [ "$funcstack[1]" = "_holdpoint" ]; then _holdpoint "$@"; else compdef _holdpoint holdpoint; fi`
}

function pathCases(nodes: readonly Node[], line: (path: string) => string): string {
  return nodes
    .filter(({ path }) => path !== '')
    .map(({ path }) => line(shellQuoted(path)))
    .join('\n')
}

function fish(nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, words }) =>
    words.map(
      ({ word, help }) =>
        `complete -c holdpoint -n ${shellQuoted(`__holdpoint_at ${shellQuoted(path)}`)} ${word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${shellQuoted(word)}`} -d ${shellQuoted(help)}`,
    ),
  )
  const known = nodes.map(({ path }) => path).filter(Boolean)
  return `function __holdpoint_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim -- "$at $word")
    if contains -- $next ${known.map(shellQuoted).join(' ')}
      set at $next
    end
  end
  test "$at" = "$argv[1]"
end
complete -c holdpoint -f
${lines.join('\n')}`
}
