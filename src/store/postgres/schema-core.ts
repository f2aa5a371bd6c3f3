/** Orgs, owners, keys, devices, locks, links, the audit chain, decisions, last-seen. */
export const CORE = ``
