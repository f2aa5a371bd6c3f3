/** From an ack to the end of a call that was in flight, and where that call waited. */
export interface EndedCall {
  readonly boundary: 'tool' | 'side_effect'
  readonly ms: number
}

const WIDTH = 640
const HEIGHT = 300
const LEFT = 56
const RIGHT = 16
const TOP = 56
const BOTTOM = 48
const LINES = [
  { boundary: 'tool', name: 'tool', dash: '' },
  { boundary: 'side_effect', name: 'side_effect', dash: ' stroke-dasharray="6 3"' },
] as const

// On a ground of its own: a page may be dark where the reader's system is light, and the other way round.
const STYLE = `
    .ground { fill: #ffffff }
    text { font: 12px system-ui, sans-serif; fill: #424a53 }
    .title { font-weight: 600 }
    .grid { stroke: #8c959f; stroke-opacity: .35 }
    .axis { stroke: #8c959f }
    .line { fill: none; stroke-width: 2 }
    .tool { stroke: #0969da }
    .side_effect { stroke: #bc4c00 }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } text { fill: #c9d1d9 } .tool { stroke: #58a6ff } .side_effect { stroke: #f0883e }
    }
  `

/** What share of the calls in flight had ended how long after the ack, a line for each boundary. No script, no font. */
export function latencyPlot(ended: readonly EndedCall[]): string {
  const maxMs = niceAbove(Math.max(1, ...ended.map(({ ms }) => ms)))
  const x = (ms: number) => round(LEFT + (ms / maxMs) * (WIDTH - LEFT - RIGHT))
  const y = (share: number) => round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))
  const across = [0, 0.25, 0.5, 0.75, 1].map((share) => share * maxMs)
  const up = [0, 0.25, 0.5, 0.75, 1]
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="title">`,
    `<title id="title">Calls in flight that had ended, by milliseconds after the ack</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>`,
    `<text class="title" x="${LEFT}" y="20">Calls in flight at the ack: share that had ended</text>`,
    ...legend(ended),
    ...up.map(
      (share) => `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(share)}" y2="${y(share)}"/>`,
    ),
    ...up.map(
      (share) => `<text x="${LEFT - 8}" y="${y(share) + 4}" text-anchor="end">${share * 100} %</text>`,
    ),
    ...across.map((ms) => `<line class="axis" x1="${x(ms)}" x2="${x(ms)}" y1="${y(0)}" y2="${y(0) + 4}"/>`),
    ...across.map(
      (ms) =>
        `<text x="${x(ms)}" y="${y(0) + 18}" text-anchor="${ms === maxMs ? 'end' : 'middle'}">${round(ms)}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">milliseconds after the ack</text>`,
    `<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(0)}" y2="${y(0)}"/>`,
    ...LINES.map(({ boundary, dash }) => curve(timesOf(ended, boundary), { boundary, dash, x, y })),
    ...(ended.length === 0
      ? [`<text x="${WIDTH / 2}" y="${y(0.5)}" text-anchor="middle">No call was in flight at an ack.</text>`]
      : []),
    '</svg>',
  ]
  return `${parts.filter((part) => part !== '').join('\n')}\n`
}

function legend(ended: readonly EndedCall[]): string[] {
  return LINES.flatMap(({ boundary, name, dash }, index) => {
    const left = LEFT + index * 200
    const count = timesOf(ended, boundary).length
    return [
      `<line class="line ${boundary}"${dash} x1="${left}" x2="${left + 24}" y1="38" y2="38"/>`,
      `<text x="${left + 32}" y="42">${name}, ${count} ${count === 1 ? 'call' : 'calls'}</text>`,
    ]
  })
}

function timesOf(ended: readonly EndedCall[], boundary: EndedCall['boundary']): number[] {
  return ended
    .filter((call) => call.boundary === boundary)
    .map(({ ms }) => ms)
    .toSorted((a, b) => a - b)
}

interface Curve {
  readonly boundary: string
  readonly dash: string
  readonly x: (ms: number) => number
  readonly y: (share: number) => number
}

/** Steps: nothing between two measured ends is made up. */
function curve(times: readonly number[], { boundary, dash, x, y }: Curve): string {
  if (times.length === 0) return ''
  const steps = times.map((ms, index) => `H${x(ms)}V${y((index + 1) / times.length)}`)
  return `<path class="line ${boundary}"${dash} d="M${x(0)} ${y(0)}${steps.join('')}"/>`
}

/** The next of 1, 2, 4, 8 times a power of ten: quarters of it are short numbers. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 4, 8, 10].find((factor) => factor * power >= value) ?? 10) * power
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
