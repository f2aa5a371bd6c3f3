import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import type { Env } from '../../src/config.ts'
import { HoldpointError } from '../../src/errors.ts'
import {
  newPlatformToken,
  operatorFile,
  readSecrets,
  toolServerFile,
  writeSecret,
} from '../../src/programs/secrets.ts'
import { callerRecord } from '../../src/tool-server/callers.ts'

const Shared = z.object({
  /** All nodes know the same. */
  platformToken: z.string(),
  /** A run that one tool server has sealed opens on the others. */
  runStateKey: z.string(),
  postgresPassword: z.string(),
  /** Where the files of Postgres are. */
  postgresDir: z.string(),
})

/** What every process must know alike, made once and kept in `cluster.json`. The environment goes first. */
export type SharedSecrets = z.infer<typeof Shared>

export function sharedSecrets(dataDir: string, env: Env): SharedSecrets {
  const file = join(dataDir, 'cluster.json')
  const kept = existsSync(file) ? Shared.parse(JSON.parse(readFileSync(file, 'utf8'))) : makeShared(dataDir)
  if (!existsSync(file)) writeSecret(file, kept)
  return {
    ...kept,
    platformToken: env['PLATFORM_TOKEN'] || kept.platformToken,
    runStateKey: env['RUN_STATE_KEY'] || kept.runStateKey,
  }
}

function makeShared(dataDir: string): SharedSecrets {
  const isRoot = process.getuid?.() === 0
  return {
    platformToken: newPlatformToken(),
    runStateKey: randomBytes(32).toString('base64url'),
    postgresPassword: randomBytes(32).toString('base64url'),
    // Root starts it as another user, who cannot enter our folder.
    postgresDir: isRoot ? mkdtempSync(join(tmpdir(), 'holdpoint-postgres-')) : resolve(dataDir, 'postgres'),
  }
}

/** What the node that found the database empty wrote when it made the org. */
export interface FirstSecrets {
  readonly orgId: string
  readonly operator: string
  readonly admin: string
  readonly runtime: string
  readonly callerToken: string
  readonly approverToken: string
}

/** Throws `SECRETS_MISSING`: the org of the database was made by another deployment. */
export function firstSecrets(dataDir: string): FirstSecrets {
  const { operator, toolServer } = readSecrets(dataDir)
  const { approverToken } = operator ?? {}
  const { runtime, callerToken } = toolServer ?? {}
  if (operator !== undefined && approverToken && runtime && callerToken)
    return { ...operator, approverToken, runtime, callerToken }
  throw new HoldpointError(
    'SECRETS_MISSING',
    `The database has an org already, but ${operatorFile(dataDir)} and ${toolServerFile(dataDir)} are not there. ` +
      'Put them back, or let DATABASE_URL lead to an empty database.',
  )
}

/** The callers that every tool server knows, as in production. Gives the file. */
export function writeCallers(dataDir: string, { callerToken, approverToken }: FirstSecrets): string {
  const file = join(dataDir, 'callers.json')
  const callers = [
    callerRecord(callerToken, {
      id: 'first-caller',
      name: 'First caller',
      scopes: ['tools:call', 'runs:start', 'runs:resume'],
    }),
    callerRecord(approverToken, {
      id: 'approver',
      name: 'Approver',
      scopes: ['runs:approve', 'runs:resume'],
    }),
  ]
  writeSecret(file, { callers })
  return file
}
