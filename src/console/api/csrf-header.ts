import type { CSRF_HEADER as OfTheWire } from '../../machineid/wire-sessions.ts'

/** As in wire-sessions.ts, which would bring its schemas along. */
export const CSRF_HEADER: typeof OfTheWire = 'x-csrf-token'
