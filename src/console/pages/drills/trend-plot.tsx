import { Stack, Text } from '@mantine/core'

import type { Output } from '../../api/routes.ts'
import { count } from '../../ui/count.ts'
import { absoluteTime } from '../../ui/when.tsx'
import { Axes } from './axes.tsx'
import { Plot } from './plot.tsx'
import classes from './plot.module.css'
import { niceAbove, placeOf, round, scaleUpTo } from './plot-scales.ts'

type Summary = Output<'drills'>['drills'][number]
interface Measured extends Summary {
  readonly endedP99Ms: number
}

/** The measured stop latency of drill after drill, the oldest first. */
export function TrendPlot({ drills }: { readonly drills: readonly Summary[] }) {
  const measured = drills.filter((drill): drill is Measured => drill.endedP99Ms !== null).toReversed()
  const [first, last] = [measured[0], measured.at(-1)]
  if (first === undefined || last === undefined) return null
  const values = measured.map(({ endedP99Ms }) => endedP99Ms)
  const scale = scaleUpTo(niceAbove(Math.max(1, ...values)))
  const { x, y, max } = scale
  const pointOf = ({ endedP99Ms }: Measured, index: number) =>
    [x(placeOf(index, measured.length)), y(endedP99Ms / max)] as const
  const summary = `${count(measured.length, 'drill')}: the worst p99 was between ${Math.min(...values)} and ${Math.max(...values)} ms, in the last one ${last.endedP99Ms} ms.`
  return (
    <Stack gap="xs">
      <Text size="sm">
        From the ack of a stop to the end of what was in flight. {summary} The table below has each figure.
      </Text>
      <Plot label="Plot of drill after drill" summary={summary}>
        <Axes
          scale={scale}
          up={(share) => `${round(share * max)} ms`}
          below="drills, the newest on the right"
        />
        <path
          className={classes['line']}
          d={measured
            .map((drill, index) => `${index === 0 ? 'M' : 'L'}${pointOf(drill, index).join(' ')}`)
            .join('')}
        />
        {measured.map((drill, index) => (
          <Point key={drill.drillId} drill={drill} at={pointOf(drill, index)} />
        ))}
        <text x={x(0)} y={y(0) + 18}>
          {absoluteTime(first.startedAt)}
        </text>
        {measured.length > 1 && (
          <text x={x(1)} y={y(0) + 18} textAnchor="end">
            {absoluteTime(last.startedAt)}
          </text>
        )}
      </Plot>
    </Stack>
  )
}

/** A dot, or a cross where the drill was not held. */
function Point({ drill, at: [x, y] }: { readonly drill: Measured; readonly at: readonly [number, number] }) {
  const title = `${absoluteTime(drill.startedAt)}: ${drill.endedP99Ms} ms, ${drill.held ? 'held' : 'not held'}`
  return drill.held ? (
    <circle className={classes['held']} cx={x} cy={y} r={4}>
      <title>{title}</title>
    </circle>
  ) : (
    <path className={classes['notHeld']} d={`M${x - 5} ${y - 5}l10 10m0 -10l-10 10`}>
      <title>{title}</title>
    </path>
  )
}
