// What the plots of drills are drawn with. As the CLI draws them (cli/drill/plot.ts).

export const BOX = { width: 640, height: 300, left: 56, right: 16, top: 60, bottom: 48 } as const

/** The next of 1, 2, 4, 8 times a power of ten: quarters of it are short numbers. */
export function niceAbove(value: number): number {
  const atLeast = Math.max(value, 0.001)
  const power = 10 ** Math.floor(Math.log10(atLeast))
  return ([1, 2, 4, 8, 10].find((factor) => factor * power >= atLeast) ?? 10) * power
}

export const QUARTERS = [0, 0.25, 0.5, 0.75, 1] as const

export interface Scale {
  readonly max: number
  readonly x: (share: number) => number
  readonly y: (share: number) => number
}

/** Shares of the box, from its lower left corner. */
export function scaleUpTo(max: number): Scale {
  const { width, height, left, right, top, bottom } = BOX
  return {
    max,
    x: (share) => round(left + share * (width - left - right)),
    y: (share) => round(height - bottom - share * (height - top - bottom)),
  }
}

/** Nearest rank, of sorted values; undefined where there are none. */
export function nearestRank(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]
}

/** What share had ended by when, in steps: nothing between two measured ends is made up. */
export function stepsPath(sorted: readonly number[], { max, x, y }: Scale): string {
  if (sorted.length === 0) return ''
  const steps = sorted.map((ms, index) => `H${x(ms / max)}V${y((index + 1) / sorted.length)}`)
  return `M${x(0)} ${y(0)}${steps.join('')}`
}

/** Where the `index`th of `count` stands: evenly, one alone in the middle. */
export function placeOf(index: number, count: number): number {
  return count === 1 ? 0.5 : index / (count - 1)
}

export function round(value: number): number {
  return Math.round(value * 10) / 10
}
