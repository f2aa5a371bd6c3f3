import type { Oracle } from './oracle.ts'

/** What a proof has seen. Without problems it held. */
export interface ProofResult {
  readonly proof: string
  readonly seed: number
  readonly seconds: number
  readonly figures: Readonly<Record<string, unknown>>
  readonly problems: readonly string[]
}

export interface Running {
  readonly must: (fits: boolean, otherwise: string) => void
  readonly result: (figures: ProofResult['figures']) => ProofResult
}

/** Measures the time, and keeps the problems: the first ones, since one cause has many. */
export function begin(proof: string, seed: number): Running {
  const startMs = performance.now()
  const problems: string[] = []
  let more = 0
  return {
    must: (fits, otherwise) => {
      if (fits) return
      if (problems.length < MAX_PROBLEMS) problems.push(otherwise)
      else more += 1
    },
    result: (figures) => ({
      proof,
      seed,
      seconds: rounded((performance.now() - startMs) / 1000),
      figures,
      problems: more === 0 ? problems : [...problems, `and ${more} more`],
    }),
  }
}

const MAX_PROBLEMS = 10

/** G1, G5, G6 as the oracle saw them, and that it had something to see. */
export function mustHold({ findings, counts }: Oracle, must: Running['must'], strict = false): void {
  const wrong = findings.filter(({ what }) => strict || what !== 'wrong denial')
  for (const finding of wrong) must(false, JSON.stringify(finding))
  must(counts.whileStopped > 0, 'nothing was asked while a device was stopped')
  must(counts.allows > 0, 'nothing was allowed')
}

export function figuresOf({ findings, counts }: Oracle) {
  const { questions, allows, whileStopped, stops, restores, unknownStops, codes, byNode } = counts
  const found = (what: string) => findings.filter((finding) => finding.what === what).length
  return {
    questions,
    decidedWhileStopped: whileStopped,
    allows,
    staleAllows: found('stale allow'),
    staleEpochs: found('stale epoch'),
    wrongDenials: found('wrong denial'),
    ackedStops: stops,
    ackedRestores: restores,
    stopsNotAcked: unknownStops,
    codes,
    questionsByNode: byNode,
  }
}

export const rounded = (value: number) => Math.round(value * 10) / 10
