import { Box } from '@mantine/core'
import { useId, type ReactNode } from 'react'

import classes from './plot.module.css'
import { BOX } from './plot-scales.ts'

/** The frame of a plot: `summary` is what somebody who does not see it is told. Narrow screens scroll it. */
export function Plot({
  label,
  summary,
  children,
}: {
  readonly label: string
  readonly summary: string
  readonly children: ReactNode
}) {
  const titleId = useId()
  return (
    <Box className={classes['scroll']} tabIndex={0} role="region" aria-label={label}>
      <svg
        className={classes['plot']}
        viewBox={`0 0 ${BOX.width} ${BOX.height}`}
        role="img"
        aria-labelledby={titleId}
      >
        <title id={titleId}>{summary}</title>
        {children}
      </svg>
    </Box>
  )
}
