import { Button, Group } from '@mantine/core'
import { useEffect } from 'react'

import { Untrusted } from './untrusted.tsx'
import { useCopy } from './use-copy.ts'

/** An identifier that is pasted elsewhere. `what` names it: `Copy the digest`. */
export function Copyable({ text, what }: { readonly text: string; readonly what: string }) {
  return (
    <Group gap={6} wrap="nowrap" align="center" component="span">
      <Untrusted text={text} mono />
      <CopyText text={text} what={what} />
    </Group>
  )
}

const TOLD = { copied: 'Copied', refused: 'Copy by hand' } as const
const TOLD_MS = 4000

/** The button alone. Where the browser keeps the clipboard to itself, such as without TLS, it says so. */
export function CopyText({ text, what }: { readonly text: string; readonly what: string }) {
  const { copied, copy, forget } = useCopy(text)
  const told = copied && TOLD[copied]
  useEffect(() => {
    if (copied === undefined) return undefined
    const timer = window.setTimeout(forget, TOLD_MS)
    return () => window.clearTimeout(timer)
  }, [copied, forget])
  return (
    <Button
      size="compact-sm"
      variant="default"
      onClick={copy}
      flex="none"
      aria-label={copied === 'refused' ? `Not copied, copy by hand: ${what}` : `${told ?? 'Copy'} ${what}`}
    >
      {told ?? 'Copy'}
    </Button>
  )
}
