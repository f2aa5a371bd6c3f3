import { Box, SimpleGrid, Text } from '@mantine/core'
import type { ReactNode } from 'react'

/** Names and what stands for each, in a `Fact` of its own. */
export function Facts({
  children,
  cols = { base: 1, xs: 2, md: 3 },
}: {
  readonly children: ReactNode
  readonly cols?: Record<string, number>
}) {
  return (
    <SimpleGrid component="dl" cols={cols} spacing="md" verticalSpacing="sm" m={0}>
      {children}
    </SimpleGrid>
  )
}

export function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <Box miw={0}>
      <Text component="dt" size="xs" fw={600}>
        {name}
      </Text>
      <Text component="dd" size="sm" m={0} className="numbers">
        {children}
      </Text>
    </Box>
  )
}
