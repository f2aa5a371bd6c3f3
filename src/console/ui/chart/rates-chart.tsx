import { Stack, Table, Text } from '@mantine/core'

import { count } from '../count.ts'
import { plain } from '../plain.ts'
import { highest, MINUTES, type RateSeries } from './rate-series.ts'
import styles from './rates-chart.module.css'

const HALF = 20
/** A single denial among thousands of allows is still seen. */
const LEAST = 1.5

/** Decisions per minute of the last hour: one row for each boundary, allowed above the line and denied below it. */
export function RatesChart({ series }: { readonly series: readonly RateSeries[] }) {
  const top = highest(series)
  return (
    <Stack gap="xs">
      <div className={styles['rows']}>
        {series.map((row) => (
          <RateRow key={row.boundary ?? ''} row={row} top={top} />
        ))}
      </div>
      <div className={styles['axis']} aria-hidden>
        <span>an hour ago</span>
        <span>now</span>
      </div>
      <Text size="xs">
        <span className={`${styles['swatch']} ${styles['allowed']}`} aria-hidden /> Above the line: allowed.{' '}
        <span className={`${styles['swatch']} ${styles['denied']}`} aria-hidden /> Below it: denied. The
        highest bar is {count(top, 'decision')} in a minute.
      </Text>
      <details>
        <summary className={styles['summary']}>The same as a table</summary>
        <RatesTable series={series} />
      </details>
    </Stack>
  )
}

function RateRow({ row, top }: { readonly row: RateSeries; readonly top: number }) {
  const name = nameOf(row.boundary)
  const words = `${count(row.allowedInAll, 'decision')} allowed, ${row.deniedInAll.toLocaleString('en')} denied`
  return (
    <div className={styles['row']}>
      <div className={styles['label']}>
        <Text size="sm" fw={600} span>
          {name}
        </Text>
        <Text size="xs" span className="numbers">
          {row.allowedInAll.toLocaleString('en')} allowed
          <br />
          {row.deniedInAll.toLocaleString('en')} denied
        </Text>
      </div>
      <svg
        className={styles['bars']}
        viewBox={`0 0 ${MINUTES} ${2 * HALF}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${name}, in the last hour: ${words}.`}
      >
        {row.allowed.map((number, minute) => bar(number, minute, { top, side: 'allowed' }))}
        {row.denied.map((number, minute) => bar(number, minute, { top, side: 'denied' }))}
        <rect className={styles['line']} x={0} y={HALF - 0.25} width={MINUTES} height={0.5} />
      </svg>
    </div>
  )
}

function bar(
  number: number,
  minute: number,
  { top, side }: { readonly top: number; readonly side: 'allowed' | 'denied' },
) {
  if (number === 0) return null
  const height = Math.max(LEAST, (number / top) * HALF)
  const y = side === 'allowed' ? HALF - height : HALF
  return (
    <rect
      key={`${side}${minute}`}
      className={styles[side]}
      x={minute + 0.1}
      y={y}
      width={0.8}
      height={height}
    />
  )
}

function RatesTable({ series }: { readonly series: readonly RateSeries[] }) {
  return (
    <Table.ScrollContainer minWidth={360} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
      <Table fz="sm" className="numbers" aria-label="Decisions of the last hour by boundary">
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Boundary</Table.Th>
            <Table.Th scope="col">Allowed</Table.Th>
            <Table.Th scope="col">Denied</Table.Th>
            <Table.Th scope="col">Most in a minute</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {series.map((row) => (
            <Table.Tr key={row.boundary ?? ''}>
              <Table.Th scope="row">{nameOf(row.boundary)}</Table.Th>
              <Table.Td>{row.allowedInAll.toLocaleString('en')}</Table.Td>
              <Table.Td>{row.deniedInAll.toLocaleString('en')}</Table.Td>
              <Table.Td>{highest([row]).toLocaleString('en')}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  )
}

const nameOf = (boundary: string | null) => (boundary === null ? 'no boundary named' : plain(boundary))
