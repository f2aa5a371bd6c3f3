/** About `delayMs`: half of it fixed, half random, so that a fleet does not come back in step. */
export function jittered(delayMs: number): number {
  return delayMs / 2 + (Math.random() * delayMs) / 2
}
