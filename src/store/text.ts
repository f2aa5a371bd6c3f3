/**
 * What both databases can keep and give back: UTF-8 has no lone surrogates, and text in Postgres no NUL. What they would
 * alter or refuse is altered here, before anything is made of it.
 */
export function storableText(text: string): string {
  return (text.isWellFormed() ? text : text.toWellFormed()).replaceAll('\0', '\u{FFFD}')
}
