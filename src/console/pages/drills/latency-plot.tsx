import { Stack, Table, Text } from '@mantine/core'

import { count } from '../../ui/count.ts'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { Axes } from './axes.tsx'
import { Plot } from './plot.tsx'
import classes from './plot.module.css'
import { BOX, nearestRank, niceAbove, round, scaleUpTo, stepsPath } from './plot-scales.ts'

const MARKS = [
  { name: 'p50', share: 0.5 },
  { name: 'p99', share: 0.99 },
  { name: 'max', share: 1 },
] as const
const TABLE_SHARES = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1]

/** What share of the calls in flight at an ack had ended how long after it. */
export function LatencyPlot({ endedMs }: { readonly endedMs: readonly number[] }) {
  const sorted = endedMs.toSorted((a, b) => a - b)
  const last = sorted.at(-1)
  if (last === undefined)
    return <Text size="sm">No call was in flight at an ack, so there is nothing to plot.</Text>
  const scale = scaleUpTo(niceAbove(Math.max(1, last)))
  const { x, y, max } = scale
  const at = (share: number) => nearestRank(sorted, share) ?? 0
  const summary = `${count(sorted.length, 'call')} in flight at an ack: half had ended ${at(0.5)} ms after it, 99 % by ${at(0.99)} ms, the last one after ${last} ms.`
  return (
    <Stack gap="xs">
      <Text size="sm">{summary}</Text>
      <Plot label="Plot of the stop latency" summary={summary}>
        <Axes
          scale={scale}
          up={(share) => `${share * 100} %`}
          across={(share) => String(round(share * max))}
          below="milliseconds after the ack"
        />
        <path className={classes['line']} d={stepsPath(sorted, scale)} />
        {MARKS.map(({ name, share }, row) => (
          <Mark key={name} text={`${name} ${at(share)} ms`} row={row} x={x(at(share) / max)} bottom={y(0)} />
        ))}
      </Plot>
      <details>
        <summary className={classes['summary']}>The same as a table</summary>
        <ScrollTable
          label="Stop latency"
          minWidth={240}
          head={['Share that had ended', 'Milliseconds after the ack']}
        >
          {TABLE_SHARES.map((share) => (
            <Table.Tr key={share} className="numbers">
              <Table.Th scope="row" fw={400}>
                {share * 100} %
              </Table.Th>
              <Table.Td>{at(share)}</Table.Td>
            </Table.Tr>
          ))}
        </ScrollTable>
      </details>
    </Stack>
  )
}

/** A line across the curve, with its name above: one row each, since p99 and max are often the same. */
function Mark({
  text,
  row,
  x,
  bottom,
}: {
  readonly text: string
  readonly row: number
  readonly x: number
  readonly bottom: number
}) {
  const top = 14 + row * 16
  const isRight = x > BOX.width / 2
  return (
    <g>
      <line className={classes['mark']} x1={x} x2={x} y1={bottom} y2={top - 8} />
      <text x={isRight ? x - 5 : x + 5} y={top} textAnchor={isRight ? 'end' : 'start'}>
        {text}
      </text>
    </g>
  )
}
