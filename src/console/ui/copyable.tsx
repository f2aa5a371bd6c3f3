import { Button, CopyButton, Group } from '@mantine/core'

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

/** The button alone. */
export function CopyText({ text, what }: { readonly text: string; readonly what: string }) {
  return (
    <CopyButton value={text} timeout={2000}>
      {({ copied, copy }) => (
        <Button
          size="compact-sm"
          variant="default"
          onClick={copy}
          flex="none"
          aria-label={`${copied ? 'Copied' : 'Copy'} ${what}`}
        >
          {copied ? 'Copied' : 'Copy'}
        </Button>
      )}
    </CopyButton>
  )
}
