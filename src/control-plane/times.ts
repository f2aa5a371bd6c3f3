/** Wall-clock milliseconds as the API shows them: ISO 8601 in UTC. */
export function isoOrNull(wallMs: number | null): string | null {
  return wallMs === null ? null : new Date(wallMs).toISOString()
}
