export function insert(table: string, columns: readonly string[]): string {
  return `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`
}

/** Writes to a row whose `same` columns are as given. They are not set, so that no index of them is written. */
export function update(table: string, columns: readonly string[], same: readonly string[]): string {
  const given = (column: string, is: string) => `${column} ${is} ?${columns.indexOf(column) + 1}`
  const updates = columns.filter((column) => !same.includes(column)).map((column) => given(column, '='))
  return `UPDATE ${table} SET ${updates.join(', ')} WHERE ${same.map((column) => given(column, 'IS')).join(' AND ')}`
}

export function upsert(table: string, columns: readonly string[], key: readonly string[]): string {
  const updates = columns
    .filter((column) => !key.includes(column))
    .map((column) => `${column} = excluded.${column}`)
  return `${insert(table, columns)} ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${updates.join(', ')}`
}
