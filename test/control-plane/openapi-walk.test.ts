import { afterAll, describe, expect, test } from 'vitest'

import type { Operation } from './openapi-contract.ts'
import { ACCEPTED, COMMON, OTHER_TYPES, OWN, startWorlds } from './openapi-recipes.ts'
import type { Answer } from './openapi-world.ts'

// Every answer that openapi.json describes is provoked, and judged by what openapi.json says of it. What is answered
// and not described fails; so does what is described and never answered: a new call, or a new code, needs a recipe.

const worlds = await startWorlds()
const { main } = worlds
const { contract } = main
const provoked = new Map<string, Set<string>>()

afterAll(async () => {
  const outcomes = [...provoked.values()].reduce((sum, { size }) => sum + size, 0)
  console.log(`openapi.json: ${contract.operations.length} calls, ${outcomes} different answers provoked`)
  await worlds[Symbol.asyncDispose]()
})

/** Which documented outcome an answer is; throws when it is none. */
function note(operation: Operation, answer: Answer): string {
  const outcome = contract.outcomeOf(operation, answer)
  provoked.set(operation.id, (provoked.get(operation.id) ?? new Set()).add(outcome))
  return outcome
}

describe.each(contract.operations)('$method $path', (operation) => {
  const { id, outcomes, query, kinds } = operation
  const named = (recipes: object) => Object.keys(recipes).filter((name) => name.startsWith(`${id} `))

  test('does what it is for', async () => {
    const asked = await ACCEPTED[id]?.(main)
    if (asked === undefined) throw new Error(`${id} has no recipe: add one to ACCEPTED.`)
    const answer = await main.ask(operation, asked)
    expect(note(operation, answer)).toMatch(/^200 \S+$/)
    if (answer.contentType === 'text/event-stream') expect(answer.items).toHaveLength(1)
  })

  if ('preview' in query) {
    test('tells what it would hit', async () => {
      const asked = await ACCEPTED[id]?.(main)
      const answer = await main.ask(operation, { ...asked, query: { preview: 'true' } })
      expect(note(operation, answer)).toBe('200 application/json preview')
    })
  }

  test.each(named(OTHER_TYPES))('%s', async (name) => {
    const answer = await main.ask(operation, OTHER_TYPES[name])
    expect(`${id} ${note(operation, answer)}`).toBe(name)
    expect(answer.items.length).toBeGreaterThan(1)
  })

  // Those that are not described are asked for too: the answer must be one that is.
  // A quota of thousands is used up, by a machine that may be busy.
  test('refuses what every call of its kind refuses', { timeout: 60_000 }, async () => {
    for (const [code, recipe] of Object.entries(COMMON)) {
      const isDescribed = [...outcomes].some((outcome) => outcome.endsWith(` ${code}`))
      if (code === 'RATE_LIMITED' && !(isDescribed && kinds.length > 0)) continue
      const outcome = note(operation, await recipe(worlds, operation))
      if (isDescribed && !(`${id} ${code}` in OWN)) expect(outcome).toMatch(new RegExp(`^\\d+ ${code}$`))
    }
  })

  if (operation.body !== undefined) {
    test('reads a body as large as it says, and none that is larger', async () => {
      const quoted = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`
      const { maxBodyBytes } = operation
      const largest = await main.ask(operation, { body: quoted(maxBodyBytes) })
      expect(note(operation, largest)).toBe('400 BAD_REQUEST')
      const larger = await main.ask(operation, { body: quoted(maxBodyBytes + 1) })
      expect(note(operation, larger)).toBe('413 BODY_TOO_LARGE')
    })
  }

  test.each(named(OWN))('%s', async (name) => {
    const recipe = OWN[name]
    if (recipe === undefined) throw new Error(name)
    const outcome = note(operation, await recipe(worlds, operation))
    expect(`${id} ${outcome.replace(/^\d+ /, '')}`).toBe(name)
  })

  test('answers nothing else that is described', () => {
    expect([...(provoked.get(id) ?? [])].toSorted()).toEqual([...outcomes].toSorted())
  })
})

test('every recipe is for a call that there is', () => {
  const ids = new Set(contract.operations.map(({ id }) => id))
  const recipes = [ACCEPTED, OTHER_TYPES, OWN].flatMap((of) => Object.keys(of))
  expect(recipes.filter((name) => !ids.has(name.split(' ')[0] ?? ''))).toEqual([])
})

test('the stops, and no other call with a key, are answered while its quota is used up', async () => {
  const { limited } = worlds
  const key = limited.authority.keys.admin
  const stops = contract.operations.filter(
    ({ kinds, outcomes }) => kinds.length > 0 && !outcomes.has('429 RATE_LIMITED'),
  )
  expect(stops.map(({ id }) => id)).toEqual([
    'postDevicesRevoke',
    'postDevicesRemove',
    'postDevicesRevokeBatch',
    'postLocks',
    'postOrgKeysBurn',
    'postOrgDisable',
  ])
  const flood = Array.from({ length: 1000 }, () => limited.ask(limited.operation('getUsage'), { key }))
  for (const stop of stops) expect((await limited.ask(stop, { key, body: '[]' })).status).toBe(400)
  expect((await Promise.all(flood)).map(({ status }) => status)).toContain(429)
})
