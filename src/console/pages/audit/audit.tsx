import { Button, Group, Stack, Text } from '@mantine/core'

import { hrefOf } from '../../api/call.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { Page } from '../../ui/page.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { useFilters } from '../../ui/use-filters.ts'
import { AuditFilter, FILTERS, type AuditFilters } from './audit-filter.tsx'
import { AuditRow, COLUMNS } from './audit-row.tsx'
import { VerifyChain } from './verify-chain.tsx'

const PAGE_ROWS = 25

/** Every change of the org, in the order in which it was made, the newest first. */
export function Audit() {
  const [filters, setFilters] = useFilters(FILTERS)
  const { before, ...wanted } = filters
  const page = useCall('audit', { ...filters, order: 'newest', limit: PAGE_ROWS })
  const isFiltered = Object.keys(wanted).length > 0
  return (
    <Page title="Audit" actions={<Exports wanted={wanted} />}>
      <AuditFilter filters={filters} onChange={setFilters} />
      <Answer of={page}>
        {({ rows, nextBefore }) => (
          <Stack gap="sm">
            {rows.length === 0 ? (
              <Empty title={isFiltered ? 'No change fits.' : 'There is nothing older.'}>
                {nextBefore === null
                  ? 'All of the audit was looked at. Every change stands here: who made it, when, why, and what it changed.'
                  : 'The newest rows were looked at. There are older ones.'}
              </Empty>
            ) : (
              <ScrollTable label="Audit" minWidth={960} head={COLUMNS}>
                {rows.map((row) => (
                  <AuditRow
                    key={row.seq}
                    row={row}
                    onOnly={(only) => setFilters({ ...cleared(), ...only })}
                  />
                ))}
              </ScrollTable>
            )}
            <Group component="nav" gap="xs" aria-label="Pages of the audit">
              <Button
                variant="default"
                disabled={before === undefined}
                onClick={() => setFilters({ before: '' })}
              >
                Newest
              </Button>
              <Button
                variant="default"
                disabled={nextBefore === null}
                onClick={() => setFilters({ before: String(nextBefore) })}
              >
                Older
              </Button>
              {isFiltered && (
                <Text size="sm">
                  An export has what fits the filter. Only a whole one can be verified elsewhere.
                </Text>
              )}
            </Group>
          </Stack>
        )}
      </Answer>
      <VerifyChain />
    </Page>
  )
}

function cleared(): AuditFilters {
  return Object.fromEntries(FILTERS.map((name) => [name, '']))
}

function Exports({ wanted }: { readonly wanted: AuditFilters }) {
  return (['jsonl', 'csv'] as const).map((format) => (
    <Button
      key={format}
      component="a"
      href={hrefOf('audit', { ...wanted, format })}
      download
      variant="default"
    >
      Export {format.toUpperCase()}
    </Button>
  ))
}
