/** The database's time, in milliseconds: of the very moment, not of the beginning of a transaction. */
export const NOW_MS = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint'
