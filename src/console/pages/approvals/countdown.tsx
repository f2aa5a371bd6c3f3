import { Text } from '@mantine/core'

import { absoluteTime, useNow } from '../../ui/when.tsx'
import { countdown } from './approval-words.ts'

/** How long somebody still has to decide. */
export function Countdown({ expiresAt }: { readonly expiresAt: string }) {
  const nowMs = useNow(1000)
  const left = countdown(expiresAt, nowMs)
  return (
    <Text component="time" size="sm" className="numbers" dateTime={expiresAt} title={absoluteTime(expiresAt)}>
      {left === '' ? 'expired' : `expires in ${left}`}
    </Text>
  )
}
