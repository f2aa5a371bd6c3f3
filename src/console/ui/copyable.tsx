import { Button, Group } from '@mantine/core'
import { useEffect, useState } from 'react'

import { Untrusted } from './untrusted.tsx'

/** An identifier that is pasted elsewhere. `what` names it: `Copy the digest`. */
export function Copyable({ text, what }: { readonly text: string; readonly what: string }) {
  return (
    <Group gap={6} wrap="nowrap" align="center" component="span">
      <Untrusted text={text} mono />
      <CopyText text={text} what={what} />
    </Group>
  )
}

const TOLD_MS = 4000

/** The button alone. Where the browser keeps the clipboard to itself, such as without TLS, it says so. */
export function CopyText({ text, what }: { readonly text: string; readonly what: string }) {
  const [told, setTold] = useState<'Copied' | 'Copy by hand'>()
  useEffect(() => {
    if (told === undefined) return undefined
    const timer = window.setTimeout(() => setTold(undefined), TOLD_MS)
    return () => window.clearTimeout(timer)
  }, [told])
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setTold('Copied')
    } catch {
      setTold('Copy by hand')
    }
  }
  return (
    <Button
      size="compact-sm"
      variant="default"
      onClick={() => void copy()}
      flex="none"
      aria-label={told === 'Copy by hand' ? `Not copied, copy by hand: ${what}` : `${told ?? 'Copy'} ${what}`}
    >
      {told ?? 'Copy'}
    </Button>
  )
}
