/** Which nodes there are, and what they count together. */
export const NODES = ``
