import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'

import {
  readCliConfig,
  readControlPlaneConfig,
  readGuardConfig,
  readModelConfig,
  readToolServerConfig,
  type Env,
} from '../../src/config.ts'
import { PROJECT } from './markdown.ts'

const EXAMPLE: Env = parseEnv(readFileSync(join(PROJECT, '.env.example'), 'utf8'))
const READERS = [
  readControlPlaneConfig,
  readGuardConfig,
  readToolServerConfig,
  readModelConfig,
  readCliConfig,
] as const

test('.env.example names every variable that is read, and no other', () => {
  const read = [...new Set(READERS.flatMap(variablesReadBy))]
  expect(read.sort()).toEqual(Object.keys(EXAMPLE).sort())
})

test.each(READERS.map((reader) => [reader.name, reader] as const))(
  '%s takes the values in .env.example for the defaults that they are',
  (_name, reader) => {
    expect(reader(EXAMPLE)).toEqual(reader({}))
  },
)

function variablesReadBy(reader: (env: Env) => unknown): readonly string[] {
  const names: string[] = []
  const get = (_env: object, name: string | symbol): undefined => void names.push(String(name))
  reader(new Proxy({}, { get }))
  return names
}
