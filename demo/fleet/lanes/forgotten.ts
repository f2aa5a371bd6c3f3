import { pause, type Lane } from './lane.ts'

/** What it looks like when somebody forgets a gate: it starts without asking, and the books show it. */
export const forgottenLane: Lane = async ({ book, paceMs, leaving }) => {
  while (!leaving.aborted) {
    await pause(paceMs, leaving)
    if (!leaving.aborted) book.started('task', { within: true, part: 'forgotten' })
  }
}
