/**
 * Where a spreadsheet takes what follows for a formula; the wide signs are typed in East Asian text. Where decimals have a
 * comma it parts at semicolons, and then no quote that stands within a line holds a cell together.
 */
const FORMULA = /^(?=[=+\-@\t\r\n＝＋－＠])|(?<=[;\t\r\n])(?=[=+\-@＝＋－＠])/g

/** One line of RFC 4180, with its end. What a spreadsheet would take for a formula is defused. */
export function csvLine(values: readonly unknown[]): string {
  return `${values.map(cell).join(',')}\r\n`
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return String(value)
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const defused = withoutFormula(text)
  return /[",\r\n]/.test(defused) ? `"${defused.replaceAll('"', '""')}"` : defused
}

/** A cell in which a spreadsheet finds no formula. */
export function withoutFormula(text: string): string {
  return text.replaceAll(FORMULA, "'")
}
