import { Alert, Button, Code, Group, Skeleton, Stack, Text } from '@mantine/core'
import type { UseQueryResult } from '@tanstack/react-query'
import { useEffect, useState, type ReactNode } from 'react'

import type { ApiError } from '../api/api-error.ts'
import { plain } from './plain.ts'

/** What was asked for, or that it is on its way, or why it did not come. What is old says so. */
export function Answer<T>({
  of,
  children,
}: {
  readonly of: UseQueryResult<T, ApiError>
  readonly children: (data: T) => ReactNode
}) {
  const { data, error, isPending, isPlaceholderData, refetch } = of
  if (data === undefined) {
    if (isPending && error === null) return <Loading />
    return error === null ? <Loading /> : <Failed error={error} retry={() => void refetch()} />
  }
  return (
    <>
      {error !== null &&
        (error.status === 0 ? <Old /> : <Failed error={error} retry={() => void refetch()} stale />)}
      {isPlaceholderData && <OfBefore />}
      {children(data)}
    </>
  )
}

const NOTICED_MS = 250

/** What stands there answers another question: the last one. Most answers come before that is seen. */
function OfBefore() {
  const [isLate, setLate] = useState(false)
  useEffect(() => {
    const timer = window.setTimeout(() => setLate(true), NOTICED_MS)
    return () => window.clearTimeout(timer)
  }, [])
  if (!isLate) return null
  return (
    <Text size="xs" fw={600} role="status">
      ▲ Loading. What stands here is what was asked for before.
    </Text>
  )
}

/** The banner of the page says why, and what to do. */
function Old() {
  return (
    <Text size="xs" fw={600}>
      ▲ Not up to date: the control plane does not answer.
    </Text>
  )
}

export function Loading() {
  return (
    <Stack gap="sm" role="status" aria-label="Loading">
      <Skeleton height={28} width="40%" />
      <Skeleton height={20} />
      <Skeleton height={20} />
      <Skeleton height={20} width="70%" />
    </Stack>
  )
}

export function Failed({
  error,
  retry,
  stale = false,
}: {
  readonly error: ApiError
  readonly retry?: (() => void) | undefined
  readonly stale?: boolean
}) {
  return (
    <Alert
      color="red"
      variant="outline"
      role="alert"
      title={stale ? 'This is not up to date: the last try to renew it failed.' : 'This cannot be shown.'}
    >
      <Stack gap="xs">
        <Text size="sm">{plain(error.message)}</Text>
        <Group gap="md">
          <Text size="xs" c="dimmed">
            <Code>{error.code}</Code> {error.requestId}
          </Text>
          {retry !== undefined && (
            <Button size="compact-sm" variant="default" onClick={retry}>
              Try again
            </Button>
          )}
        </Group>
      </Stack>
    </Alert>
  )
}

export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <Stack gap={4} align="center" py="xl" px="md">
      <Text fw={600}>{title}</Text>
      <Text size="sm" c="dimmed" ta="center" maw={520} component="div">
        {children}
      </Text>
    </Stack>
  )
}
