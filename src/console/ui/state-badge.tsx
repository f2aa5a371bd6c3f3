import { Badge } from '@mantine/core'

/** Whether something is allowed: in words and by a sign, never by colour alone. */
const LOOKS = {
  good: { color: 'green', sign: '✓' },
  bad: { color: 'red', sign: '■' },
  warn: { color: 'orange', sign: '▲' },
  quiet: { color: 'gray', sign: '–' },
} as const

export function StateBadge({
  look,
  children,
}: {
  readonly look: keyof typeof LOOKS
  readonly children: string
}) {
  const { color, sign } = LOOKS[look]
  return (
    <Badge
      color={color}
      variant="light"
      className="state-badge"
      leftSection={<span aria-hidden>{sign}</span>}
    >
      {children}
    </Badge>
  )
}
