import { afterAll, describe, expect, test } from 'vitest'

import { ACCEPTED, COMMON, OTHER_TYPES, OWN, startWorlds, type Worlds } from './openapi-recipes.ts'
import type { Operation } from './openapi-contract.ts'
import type { Answer } from './openapi-world.ts'

// Every answer that openapi.json describes is provoked, and judged by what openapi.json says of it. What is answered
// and not described fails, and so does what is described and never answered: a new call needs a recipe.

const worlds: Worlds = await startWorlds()
const { contract } = worlds.main
afterAll(() => worlds[Symbol.asyncDispose]())

const provoked = new Map<string, Set<string>>()

/** Notes which documented outcome an answer is; throws when it is none. */
function note(operation: Operation, answer: Answer): string {
  const outcome = contract.outcomeOf(operation, answer)
  const known = provoked.get(operation.id) ?? new Set()
  provoked.set(operation.id, known.add(outcome))
  return outcome
}

describe.each(contract.operations)('$method $path', (operation) => {
  test('answers what it is for', async () => {
    const asked = await ACCEPTED[operation.id]?.(worlds.main)
    if (asked === undefined) throw new Error(`${operation.id} has no recipe: see ACCEPTED.`)
    const answer = await worlds.main.ask(operation, asked)
    expect(note(operation, answer)).toMatch(/^200 \S+$/)
    if (answer.contentType === 'text/event-stream') expect(answer.items).toHaveLength(1)
  })

  test.runIf('preview' in operation.query)('tells what it would hit', async () => {
    const asked = await ACCEPTED[operation.id]?.(worlds.main)
    const answer = await worlds.main.ask(operation, { ...asked, query: { preview: 'true' } })
    expect(note(operation, answer)).toBe('200 application/json preview')
  })

  const others = Object.entries(OTHER_TYPES).filter(([name]) => name.startsWith(`${operation.id} `))
  test.each(others)('%s', async (name, asked) => {
    const answer = await worlds.main.ask(operation, asked)
    expect(`${operation.id} ${note(operation, answer)}`).toBe(name)
    expect(answer.items.length).toBeGreaterThan(1)
  })

  // Also where they are not described: then the answer must be something that is.
  test.each(Object.entries(COMMON).filter(([code]) => code !== 'RATE_LIMITED'))(
    '%s',
    async (code, recipe) => {
      const answer = await recipe(worlds, operation)
      const outcome = note(operation, answer)
      if ([...operation.outcomes].some((described) => described.endsWith(` ${code}`))) {
        expect(outcome).toMatch(new RegExp(`^4\\d\\d ${code}$|^503 ${code}$`))
      }
    },
  )

  const own = Object.entries(OWN).filter(([name]) => name.startsWith(`${operation.id} `))
  test.each(own)('%s', async (name, recipe) => {
    const outcome = note(operation, await recipe(worlds, operation))
    expect(`${operation.id} ${outcome.replace(/^\d+ /, '')}`).toBe(name)
  })

  test.runIf(operation.kinds.length > 0 && operation.outcomes.has('429 RATE_LIMITED'))(
    'RATE_LIMITED',
    async () => {
      const answer = await COMMON['RATE_LIMITED']?.(worlds, operation)
      expect(note(operation, answer as Answer)).toBe('429 RATE_LIMITED')
    },
  )

  test('has no other answer described', () => {
    expect([...(provoked.get(operation.id) ?? [])].toSorted()).toEqual([...operation.outcomes].toSorted())
  })
})
