/** With a full stop, so that more can follow: what ends with a command has none of its own. */
export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}
