/** Who listens for stops, and what became of each; drills, and what signs them. */
export const STOPS = ``
