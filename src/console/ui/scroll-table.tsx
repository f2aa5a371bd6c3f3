import { Table } from '@mantine/core'
import type { ReactNode } from 'react'

/** A table that scrolls by itself where it is wider than the page, with the keyboard too. */
export function ScrollTable({
  label,
  minWidth,
  maxHeight,
  head,
  children,
}: {
  readonly label: string
  readonly minWidth: number
  readonly maxHeight?: number
  readonly head: readonly string[]
  /** Its rows. */
  readonly children: ReactNode
}) {
  return (
    <Table.ScrollContainer
      minWidth={minWidth}
      {...(maxHeight !== undefined && { maxHeight })}
      type="native"
      tabIndex={0}
      role="region"
      className="scrolls-sideways"
      aria-label={label}
    >
      <Table aria-label={label} verticalSpacing="xs" stickyHeader={maxHeight !== undefined}>
        <Table.Thead>
          <Table.Tr>
            {head.map((title) => (
              <Table.Th key={title} scope="col">
                {title}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>{children}</Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  )
}
