import classes from './plot.module.css'
import { BOX, QUARTERS, type Scale } from './plot-scales.ts'

/** Lines across with what each stands for, and a name under the plot. */
export function Axes({
  scale: { x, y },
  up,
  across,
  below,
}: {
  readonly scale: Scale
  readonly up: (share: number) => string
  /** Left out where the marks below are not even. */
  readonly across?: (share: number) => string
  readonly below: string
}) {
  return (
    <>
      {QUARTERS.map((share) => (
        <g key={share}>
          <line className={classes['grid']} x1={x(0)} x2={x(1)} y1={y(share)} y2={y(share)} />
          <text x={x(0) - 8} y={y(share) + 4} textAnchor="end">
            {up(share)}
          </text>
          {across !== undefined && (
            <>
              <line className={classes['axis']} x1={x(share)} x2={x(share)} y1={y(0)} y2={y(0) + 4} />
              <text x={x(share)} y={y(0) + 18} textAnchor={share === 1 ? 'end' : 'middle'}>
                {across(share)}
              </text>
            </>
          )}
        </g>
      ))}
      <line className={classes['axis']} x1={x(0)} x2={x(1)} y1={y(0)} y2={y(0)} />
      <text x={(x(0) + x(1)) / 2} y={BOX.height - 10} textAnchor="middle">
        {below}
      </text>
    </>
  )
}
