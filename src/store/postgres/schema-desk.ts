/** What the console works with: sessions, approvals, reported runs. */
export const DESK = ``
