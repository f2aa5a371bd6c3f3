/** What nodes tell each other. */
export const NEWS = ``
