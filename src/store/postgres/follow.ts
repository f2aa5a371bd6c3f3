import type { DatabaseOptions } from './database.ts'
import { isSame, lookAt, notSettled, verdictOf } from './admit-rules.ts'
import type { Learned } from './learned.ts'

export interface Follower {
  readonly admit: NonNullable<DatabaseOptions['admit']>
  readonly learn: (learned: Learned) => void
}

/**
 * Of a thread beside the one that has the store open: admits connections by what that one has learned, and learns nothing
 * by itself. Throws as `createAdmission`.
 */
export function followAdmission(options: {
  readonly label: string
  readonly learned: Learned
  /** Called for a server that the other thread does not know: let it look anew. */
  readonly onUnknown: () => void
}): Follower {
  const { label, onUnknown } = options
  let { learned } = options
  return {
    learn: (next) => void (learned = next),
    admit: async (session) => {
      const { revision, newest } = learned
      const found = await lookAt(session, learned.known?.change, label)
      const { known } = learned
      const isNewest = () => Atomics.load(newest, 0) === revision
      // What has been learned meanwhile comes, or has come.
      if (!isNewest()) throw notSettled(label)
      const verdict = verdictOf(found, known, label)
      const { place, generation } = found
      if (
        verdict.kind !== 'same' ||
        place === undefined ||
        known === undefined ||
        known.generation !== generation ||
        !isSame(known.place, place)
      ) {
        onUnknown()
        throw notSettled(label)
      }
      return isNewest
    },
  }
}
