import { Button, Group, Progress, Text } from '@mantine/core'
import { useCallback, useRef, useState } from 'react'

import { runBatch, type BatchOptions, type DeviceResult } from '../batch.ts'

interface Running {
  readonly done: number
  readonly total: number
  readonly ending: boolean
}

/** Runs a batch, and shows how far it is. */
export function useBatch() {
  const [running, setRunning] = useState<Running>()
  const controller = useRef<AbortController>(undefined)

  const run = useCallback(
    async <T extends { readonly deviceId: string }>(
      options: Omit<BatchOptions<T>, 'onProgress' | 'signal'>,
    ): Promise<readonly DeviceResult[]> => {
      const total = options.items.length
      const ender = new AbortController()
      controller.current = ender
      setRunning({ done: 0, total, ending: false })
      try {
        return await runBatch({
          ...options,
          signal: ender.signal,
          onProgress: (done) => setRunning((now) => ({ done, total, ending: now?.ending === true })),
        })
      } finally {
        setRunning(undefined)
      }
    },
    [],
  )
  const end = () => {
    controller.current?.abort()
    setRunning((now) => now && { ...now, ending: true })
  }
  return {
    run,
    isRunning: running !== undefined,
    progress: running && <BatchProgress {...running} end={end} />,
  }
}

function BatchProgress({ done, total, ending, end }: Running & { readonly end: () => void }) {
  return (
    <Group gap="sm" wrap="nowrap">
      <Progress value={(100 * done) / total} flex={1} aria-label="Progress" />
      <Text size="sm" role="status" className="numbers">
        {`${done.toLocaleString('en')} of ${total.toLocaleString('en')}`}
      </Text>
      {total > 1 && (
        <Button size="compact-sm" variant="default" onClick={end} disabled={ending}>
          {ending ? 'Ending …' : 'End here'}
        </Button>
      )}
    </Group>
  )
}
