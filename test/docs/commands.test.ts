import { Command } from 'commander'
import { describe, expect, test } from 'vitest'

import { registerAll } from '../../src/cli/commands.ts'
import { codeOf, pages } from './markdown.ts'
import { wordsOf } from './play.ts'

/** Every command that stands in a block for the shell or in the text, as its arguments. */
const TYPED = pages().flatMap(({ file, blocks, spans }) => [
  ...blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ at, text }) =>
      text.split('\n').flatMap((line) => {
        const [, args] = /^(?:npx (?:--no-install )?|npm run -s )?holdpoint(?: --)? (.*)$/.exec(line) ?? []
        return args === undefined ? [] : [[`${at}: holdpoint ${args}`, wordsOf(args)] as const]
      }),
    ),
  ...[...spans, ...blocks.filter(({ language }) => language === 'text').map(({ text }) => text)].flatMap(
    (text) =>
      [...text.matchAll(/(?:^|\(|: )npx holdpoint ([^,();.]+)/gm)].map(
        ([, args = '']) => [`${file}: holdpoint ${args}`, wordsOf(args)] as const,
      ),
  ),
])

/** The drill has a page of its own. */
const PAGES = pages().filter(({ file }) => file === 'docs/cli.md' || file === 'docs/drill.md')

describe('commands of the docs', () => {
  test.each(TYPED)('%s is one that there is', async (_at, words) => {
    // The text may name a command without its arguments.
    expect((await complaint(words)).replace(/^error: missing required argument.*\s*/, '')).toBe('')
  })

  test('and one that is not would be found', async () => {
    expect(await complaint(['devices', 'revoke', '--bogus'])).toContain("unknown option '--bogus'")
    expect(await complaint(['bogus'])).toContain("unknown command 'bogus'")
    expect(TYPED.length).toBeGreaterThan(30)
  })

  test('docs/cli.md and docs/drill.md name every command and every option', () => {
    const said = PAGES.flatMap(codeOf).join('\n')
    const missing = everyCommand(program()).flatMap((command) => {
      const options = command.options.flatMap(({ long }) => long ?? [])
      return [command.name(), ...options].filter((name) => !said.includes(name))
    })
    expect([...new Set(missing)]).toEqual([])
  })
})

/** What the parser has to say against it; nothing is done. */
async function complaint(words: readonly string[]): Promise<string> {
  let said = ''
  const built = program((text) => (said += text))
  try {
    await built.parseAsync([...words], { from: 'user' })
  } catch (error) {
    return said || String(error)
  }
  return said
}

function program(writeErr: (text: string) => void = () => {}): Command {
  const built = new Command('holdpoint')
    .exitOverride()
    .configureOutput({ writeErr, writeOut: () => {} })
    .option('--json')
    .option('-y, --yes')
    .option('--tool-server <url>')
  registerAll(built, () => {
    throw new Error('Nothing is run.')
  })
  for (const command of everyCommand(built)) if (command.commands.length === 0) command.action(() => {})
  for (const command of built.commands) if (command.name() === 'drill') command.action(() => {})
  return built
}

function everyCommand(command: Command): readonly Command[] {
  return command.commands.flatMap((child) => [child, ...everyCommand(child)])
}
