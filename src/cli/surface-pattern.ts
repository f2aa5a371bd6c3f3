import { isSegmentName, lockOfSurface } from '../device-patterns.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'

/**
 * Every device of a surface, present or to come, of any service and environment unless they are given:
 * `*:*:payments:*`. Throws `CliError` (usage).
 */
export function surfacePattern(
  surface: string,
  {
    service = '*',
    env = '*',
  }: { readonly service?: string | undefined; readonly env?: string | undefined } = {},
): string {
  const wrong = [service, env].find((segment) => segment !== '*' && !isSegmentName(segment))
  if (wrong !== undefined) {
    throw new CliError(
      'BAD_SEGMENT',
      `"${wrong}" is not one segment of a device ID, for example prod.`,
      EXIT.usage,
    )
  }
  if (isSegmentName(surface)) return lockOfSurface(surface, { service, env })
  throw new CliError(
    'BAD_SURFACE',
    `"${surface}" is not a surface: 1 to 64 characters of A-Z a-z 0-9 . _ -, for example payments. Any other pattern: holdpoint lock add`,
    EXIT.usage,
  )
}
