import { Button, Group, Text } from '@mantine/core'
import { useState } from 'react'

/** Copies a key, and says when that did not work: over plain HTTP to another machine a browser does not let a page. */
export function CopyKey({ secret }: { readonly secret: string }) {
  const [done, setDone] = useState<'copied' | 'refused'>()
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(secret)
      setDone('copied')
    } catch {
      setDone('refused')
    }
  }
  return (
    <Group gap="xs">
      <Button variant="default" onClick={() => void copy()}>
        Copy the key
      </Button>
      <Text size="sm" role="status">
        {done === 'copied' && '✓ Copied'}
        {done === 'refused' && 'The browser does not let this page copy: select the key and copy it by hand.'}
      </Text>
    </Group>
  )
}
