import { Box } from '@mantine/core'

import { plain } from './plain.ts'
import classes from './text-box.module.css'

/** A long text of somebody else's, whole: with its lines, and scrolled where it is longer than the box. */
export function TextBox({ label, text }: { readonly label: string; readonly text: string }) {
  return (
    <Box component="pre" className={classes.box} tabIndex={0} role="region" aria-label={label} dir="ltr">
      {plain(text, { lines: true })}
    </Box>
  )
}
