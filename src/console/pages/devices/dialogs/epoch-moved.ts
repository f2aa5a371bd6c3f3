/**
 * Other stops and restores between the preview and the change: what was hit may differ from what was previewed. Each
 * change of ours raises the org's epoch by one.
 */
export function movedBetween(
  previewed: number | undefined,
  answered: number | undefined,
  ours: number,
): boolean {
  return previewed !== undefined && answered !== undefined && answered !== previewed + ours
}
