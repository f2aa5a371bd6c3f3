import { z } from 'zod'
import { postgresUrlProblem } from './postgres-url.ts'

// Of config.ts: how Postgres is reached.

export const postgresUrl = z
  .url({ protocol: /^postgres(ql)?$/, error: 'postgres://user:password@host:port/database' })
  .superRefine((value, context) => {
    const problem = postgresUrlProblem(value)
    if (problem !== undefined) context.addIssue(problem)
  })
  .optional()
export const poolSize = (fallback: number) =>
  z.coerce.number('how many connections, 1 to 200').int().min(1).max(200).default(fallback)

/** Of both servers, where they store in Postgres. */
export const postgres = {
  DATABASE_TIMEOUT_MS: z.coerce
    .number('a number of milliseconds, 100 to 30000')
    .int()
    .min(100)
    .max(30_000)
    .default(1500),
}
